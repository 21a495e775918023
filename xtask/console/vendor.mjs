// Renews the parts of the console's page that others keep: node vendor.mjs <folder of node_modules> <folder of the page's
// vendor files>. The files are theirs as published; only the names by which modules find each other change, because a
// page under our policy can have no import map.

import { mkdirSync, readFileSync, writeFileSync, copyFileSync, existsSync } from "node:fs";
import { join } from "node:path";

const [modules, target] = process.argv.slice(2);
const read = (name) => readFileSync(join(modules, name), "utf8");
const write = (name, text) => writeFileSync(join(target, name), text);
const without = (text) => text.replace(/\n?\/\/# sourceMappingURL=\S+\s*$/, "\n");

/** The icons of the page, by their names at lucide. */
const ICONS = [
  "activity", "arrow-left", "arrow-right", "ban", "bell", "boxes", "check", "chevron-left", "chevron-right",
  "circle-alert", "circle-check", "circle-pause", "circle-play", "circle-stop", "clock", "credit-card", "ellipsis",
  "eye", "eye-off", "gauge", "heart-pulse", "history", "hourglass", "inbox", "info", "loader-circle", "log-out", "mail",
  "menu", "monitor", "moon", "package", "pencil", "plus", "receipt", "refresh-cw", "rotate-ccw", "scroll-text", "search",
  "send", "settings", "snowflake", "sun", "sun-snow", "ticket", "timer", "timer-reset", "trash-2", "triangle-alert",
  "truck", "undo-2", "user", "webhook", "wifi-off", "x",
];

function icon(name) {
  const body = read(`lucide-static/icons/${name}.svg`).replace(/<!--.*?-->/s, "").replace(/<\/?svg[^>]*>/gs, "");
  const parts = [...body.matchAll(/<(\w+)([^>]*?)\/>/gs)].map(([, tag, attributes]) => {
    const pairs = [...attributes.matchAll(/([\w-]+)="([^"]*)"/g)].map(([, key, value]) => [key, value]);
    return [tag, Object.fromEntries(pairs)];
  });
  if (parts.length === 0) throw new Error(`nothing is drawn by ${name}`);
  return parts;
}

mkdirSync(target, { recursive: true });
write("preact.js", without(read("preact/dist/preact.mjs")));
write("hooks.js", without(read("preact/hooks/dist/hooks.mjs")).replace(/from"preact"/g, 'from"./preact.js"'));
write("htm.js", without(read("htm/dist/htm.module.js")));
write("uplot.js", `${read("uplot/dist/uPlot.iife.min.js")}\nexport default uPlot;\n`);
write("uplot.css", read("uplot/dist/uPlot.min.css"));
write("normalize.css", read("modern-normalize/modern-normalize.css"));
copyFileSync(
  join(modules, "@fontsource-variable/inter/files/inter-latin-wght-normal.woff2"),
  join(target, "inter.woff2"),
);
const icons = ICONS.map((name) => `  ${JSON.stringify(name)}: ${JSON.stringify(icon(name))},`).join("\n");
write("icons.js", `/*! lucide-static, ISC */\nexport default {\n${icons}\n};\n`);

const PARTS = [
  ["preact", "preact.js, hooks.js"],
  ["htm", "htm.js"],
  ["uplot", "uplot.js, uplot.css"],
  ["modern-normalize", "normalize.css"],
  ["lucide-static", "icons.js"],
  ["@fontsource-variable/inter", "inter.woff2"],
];
const notices = PARTS.map(([name, files]) => {
  const about = JSON.parse(read(`${name}/package.json`));
  const file = ["LICENSE", "LICENSE.md", "LICENSE.txt", "license"].find((one) => existsSync(join(modules, name, one)));
  if (!file) throw new Error(`${name} brings no licence`);
  const text = read(`${name}/${file}`).trim().replace(/^/gm, "    ").replace(/[ \t]+$/gm, "");
  return `## ${name} ${about.version} (${about.license})\n\nIn ${files}.\n\n${text}\n`;
});
write(
  "NOTICE.md",
  `# What others wrote\n\nMade by \`cargo xtask vendor\` from the versions in \`xtask/console/package-lock.json\`. Not to be edited here.\n\n${notices.join("\n")}`,
);
