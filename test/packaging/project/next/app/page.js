"use client";
import { useEffect, useState } from "react";
import { solve } from "../solve.mjs";

export default function Page() {
  const [text, setText] = useState("");
  useEffect(() => {
    solve().then(setText, (error) => setText(String(error)));
  }, []);
  return <p>{text}</p>;
}
