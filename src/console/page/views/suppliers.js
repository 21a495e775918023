// Where a shop owner buys.

import { post, put, remove } from "../api.js";
import { Button, Card, Empty, Heading, List, ask, html, toast, usePages } from "../ui.js";

const fields = (supplier = {}) => [
  { name: "name", label: "Name", value: supplier.name },
  { name: "email", label: "E-mail (optional)", type: "email", optional: true, value: supplier.email },
  { name: "phone", label: "Phone (optional)", optional: true, value: supplier.phone },
  { name: "address", label: "Address (optional)", optional: true, value: supplier.address },
];
const filled = (values) => Object.fromEntries(Object.entries(values).map(([name, text]) => [name, text.trim()]).filter(([, text]) => text));

export default function Suppliers() {
  const suppliers = usePages("/suppliers", {});
  const add = async () => {
    const made = await ask({ title: "New supplier", action: "Add", fields: fields(), work: (values) => post("/suppliers", filled(values)) });
    if (made) toast(`${made.name} was added.`);
    suppliers.reload();
  };
  const edit = (supplier) => async () => {
    const done = await ask({
      title: `Edit ${supplier.name}`, action: "Save", fields: fields(supplier),
      work: (values) => put(`/suppliers/${supplier.id}`, filled(values)),
    });
    if (done) toast("Saved.");
    suppliers.reload();
  };
  const destroy = (supplier) => async () => {
    const done = await ask({
      title: `Delete ${supplier.name}?`, text: "Movements and products forget where they came from.", action: "Delete", danger: true,
      work: async () => (await remove(`/suppliers/${supplier.id}`), true),
    });
    const { id, ...again } = supplier;
    if (done) toast(`${supplier.name} was deleted.`, { undo: () => post("/suppliers", filled(Object.fromEntries(["name", "email", "phone", "address"].map((name) => [name, again[name] ?? ""])))).then(suppliers.reload) });
    suppliers.reload();
  };
  return html`
    <${Heading} title="Suppliers" about="Where goods come from."><${Button} icon="plus" kind="primary" onClick=${add}>New supplier</${Button}></${Heading}>
    <${Card} class="flush"><${List} of=${suppliers} label="Suppliers" id=${(supplier) => supplier.id}
      empty=${html`<${Empty} icon="truck" title="No suppliers">Add the first one to note where goods come from.</${Empty}>`}
      columns=${[
        ["Name", (supplier) => html`<strong>${supplier.name}</strong>`],
        ["E-mail", (supplier) => supplier.email ?? "–"],
        ["Phone", (supplier) => supplier.phone ?? "–"],
        ["Address", (supplier) => supplier.address ?? "–"],
        ["", (supplier) => html`<div class="row-actions">
          <${Button} onClick=${edit(supplier)} aria-label=${`Edit ${supplier.name}`}>Edit</${Button}>
          <${Button} kind="danger-quiet" onClick=${destroy(supplier)} aria-label=${`Delete ${supplier.name}`}>Delete</${Button}></div>`],
      ]} /></${Card}>`;
}
