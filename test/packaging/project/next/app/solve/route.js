import { solve } from "../../solve.mjs";

export const dynamic = "force-dynamic";

export async function GET() {
  return new Response(await solve());
}
