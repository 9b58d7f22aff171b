// Makes a component of app.js: node build.mjs WIT OUT
import { writeFileSync } from "node:fs";
import { componentize } from "@bytecodealliance/componentize-js";

const [witPath, out] = process.argv.slice(2);
const { component } = await componentize({ sourcePath: "app.js", witPath, worldName: "service" });
writeFileSync(out, component);
