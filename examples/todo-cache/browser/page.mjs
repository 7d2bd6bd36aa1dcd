// Tests of the page of todo-cache, with the actions of a user. `browser/run` starts it with the address of a
// server that allows to kill, that of one that does not, a folder for the browser, and perhaps one for screenshots.

import { start } from "./browser.mjs";

const [, , url, closed, profile, shots] = process.argv;
const browser = await start(profile);
let failed = false;

/** One check: a line, and the verdict. */
async function check(what, body) {
  try {
    await body();
    console.log(`ok    ${what}`);
  } catch (error) {
    failed = true;
    console.log(`FAIL  ${what}: ${error.message}`);
  }
}

function equal(found, expected) {
  if (found !== expected) throw new Error(`expected ${JSON.stringify(expected)}, not ${JSON.stringify(found)}`);
}

const row = (name) => `document.querySelector('[data-name=${JSON.stringify(name)}]')`;
const pid = (name) => `${row(name)}?.dataset.pid`;
const entries = `[...document.querySelectorAll('#entries li')].map((li) => li.textContent)`;

const page = await browser.open({ url, width: 1600, height: 1000, dark: true });

await check("the tree is live, and the plain text is gone", async () => {
  await page.until(`document.getElementById('status').textContent === 'live'`);
  equal(await page.ask(`document.getElementById('plain').hidden`), true);
  for (const name of ["system", "db.workers", "db.worker.0", "lists", "web"]) await page.until(row(name));
});

/** Fills in the form by the keyboard. */
async function add(list, date, title) {
  const fields = { list, date, title };
  for (const [name, text] of Object.entries(fields)) {
    await page.ask(`{ const f = document.querySelector('#add [name=${name}]'); f.focus(); f.value = ''; }`);
    if (name === "date") await page.ask(`document.querySelector('#add [name=date]').value = '${text}'`);
    else await page.type(text);
  }
  await page.ask(`document.querySelector('#add [name=title]').focus()`);
  await page.key("Enter");
}

await check("an entry is added by the form", async () => {
  await add("bob", "2026-11-22", "Dentist");
  await page.until(`${entries}.some((text) => text.includes('Dentist'))`);
  await page.until(row("list:bob"));
});

await check("a title that is none is refused with a sentence", async () => {
  await add("bob", "2026-11-22", "x".repeat(201));
  await page.until(`document.body.innerText.includes('a title has at most 200 characters')`);
});

await check("an entry is ticked off, edited and removed", async () => {
  await add("bob", "2026-11-23", "Dinner");
  const last = `document.querySelector('#entries li:last-child')`;
  await page.until(`${last}.textContent.includes('Dinner')`);
  await page.ask(`${last}.querySelector('input[type=checkbox]').focus()`);
  await page.key(" ");
  await page.until(`${last}.className === 'done'`);
  await page.ask(`${last}.querySelector('button').focus()`);
  await page.key("Enter");
  await page.until(`document.activeElement.tagName === 'INPUT'`);
  await page.ask(`document.activeElement.select()`);
  await page.type("Lunch");
  await page.key("Enter");
  await page.until(`${last}.textContent.includes('Lunch')`);
  await page.ask(`${last}.querySelector('button.danger').focus()`);
  await page.key("Enter");
  await page.until(`${entries}.length === 1`);
});

await check("a list that is killed is shown as exited, and its entry is there again", async () => {
  const before = await page.until(pid("list:bob"));
  await page.ask(`${row("list:bob")}.querySelector('button[aria-label^="kill"]').click()`);
  await page.until(`document.querySelector('.exited-proc[data-dead-pid="${before}"]')`);
  await page.until(`[...document.querySelectorAll('#events li')].some((li) => li.textContent.includes('killed'))`);
  await page.ask(`location.reload()`);
  await page.until(`${entries}.some((text) => text.includes('Dentist'))`);
  const after = await page.until(pid("list:bob"));
  if (before === after) throw new Error("it is the same process");
});

await check("a worker that is killed comes back under its name, and is counted", async () => {
  const before = await page.until(pid("db.worker.1"));
  await page.ask(`${row("db.worker.1")}.querySelector('button[aria-label^="kill"]').click()`);
  await page.until(`${pid("db.worker.1")} && ${pid("db.worker.1")} !== '${before}'`);
  await page.until(`${row("db.worker.1")}.textContent.includes('restarts: 1')`);
  if (shots) await page.shoot(`${shots}/page-wide.png`);
});

await check("a list with a hostile name stays text", async () => {
  await add("<img src=x onerror=alert(1)>", "2026-11-22", "<b>bold</b>");
  await page.until(row("list:<img src=x onerror=alert(1)>"));
  await page.until(`${entries}.some((text) => text.includes('<b>bold</b>'))`);
  equal(await page.ask(`document.images.length`), 0);
});

await check("a chaos test loses nothing", async () => {
  await page.ask(`document.getElementById('chaos').click()`);
  await page.until(`document.getElementById('chaos').getAttribute('aria-checked') === 'true'`);
  await page.until(`document.querySelectorAll('.exited-proc').length > 0`);
  await page.ask(`document.getElementById('chaos').click()`);
  await page.until(`document.getElementById('chaos').getAttribute('aria-checked') === 'false'`);
  equal(await page.ask(`document.getElementById('lost').textContent`), "0");
});

await check("nothing went wrong in the page", async () => equal(page.problems.join(), ""));
await page.close();

await check("360 pixels are wide enough", async () => {
  const narrow = await browser.open({ url, width: 360, height: 1100 });
  await narrow.until(`document.getElementById('status').textContent === 'live'`);
  await narrow.until(row("db.worker.0"));
  equal(await narrow.ask(`document.documentElement.scrollWidth`), 360);
  if (shots) await narrow.shoot(`${shots}/page-narrow.png`);
  await narrow.close();
});

await check("without scripts the tree is text", async () => {
  const plain = await browser.open({ url, width: 800, height: 600, scripts: false });
  await plain.until(`document.getElementById('plain').innerText.includes('+- db.worker.1 ')`);
  await plain.close();
});

await check("without permission to kill there is no button for it", async () => {
  const safe = await browser.open({ url: closed, width: 1000, height: 800 });
  await safe.until(`document.getElementById('status').textContent === 'live'`);
  await safe.until(row("db.worker.0"));
  const shown = `[...document.querySelectorAll('button[aria-label^="kill"]')].filter((one) => one.checkVisibility())`;
  equal(await safe.ask(`${shown}.length`), 0);
  equal(await safe.ask(`document.getElementById('chaos').disabled`), true);
  await safe.close();
});

await browser.close();
process.exit(failed ? 1 : 0);
