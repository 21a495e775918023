// News that was given up, and sending it again.

import { post } from "../api.js";
import { Badge, Button, Card, Empty, Heading, List, Time, attempt, html, usePages } from "../ui.js";

export default function Letters() {
  const letters = usePages("/admin/dead-letters", {});
  const retry = (letter) => () =>
    attempt(() => post(`/admin/dead-letters/${letter.id}/retry`, {}), "It is on its way again.").then(letters.reload);
  return html`
    <${Heading} title="Dead letters" about="Webhooks and e-mails that were tried as often as they may be." />
    <${Card} class="flush"><${List} of=${letters} label="Dead letters" id=${(letter) => letter.id}
      empty=${html`<${Empty} icon="mail" title="Everything arrived">What cannot be delivered comes here, to be sent again.</${Empty}>`}
      columns=${[
        ["Event", (letter) => html`<strong>${letter.event}</strong>`],
        ["Way", (letter) => html`<${Badge}>${letter.kind === "mail" ? "E-mail" : "Webhook"}</${Badge}>`],
        ["To", (letter) => letter.url ?? "The buyer"],
        ["Attempts", (letter) => letter.attempts, "number"],
        ["What went wrong", (letter) => letter.last_error ?? "–"],
        ["Given up", (letter) => html`<${Time} at=${letter.died_at} relative />`],
        ["", (letter) => html`<div class="row-actions"><${Button} icon="send" onClick=${retry(letter)} aria-label=${`Send ${letter.event} again`}>Send again</${Button}></div>`],
      ]} /></${Card}>`;
}
