// Before a tarball is packed, and where the package is installed from its repository: dist/ is built, not committed.
import { buildPackage } from "./build.mjs";

buildPackage({ quiet: true });
