// Draws the page.

import { h, render } from "./vendor/preact.js";
import { Shell } from "./shell.js";
import { followLinks } from "./router.js";
import { resume } from "./session.js";
import { applyTheme } from "./shell.js";

applyTheme();
document.addEventListener("click", followLinks);
render(h(Shell), document.getElementById("app"));
resume();
