// Drives Chromium through its DevTools protocol, without a package: opens pages, asks them, waits for them.

import { spawn } from "node:child_process";
import { writeFileSync } from "node:fs";

const PATIENCE = 30_000;

/** Starts the browser; `open` gives a page, `close` ends all. */
export async function start(profile) {
  const chromium = spawn("chromium", [
    "--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--remote-debugging-port=0",
    // It must connect only to the server under test.
    "--disable-background-networking", "--disable-component-update", "--disable-sync", "--no-first-run",
    `--user-data-dir=${profile}`, "about:blank",
  ]);
  const port = await new Promise((found, failed) => {
    let said = "";
    chromium.stderr.on("data", (data) => {
      said += data;
      const address = said.match(/ws:\/\/[^:]+:(\d+)\//);
      if (address) found(address[1]);
    });
    chromium.on("exit", (status) => failed(new Error(`chromium ended with ${status}: ${said}`)));
  });
  return { open: (options) => open(port, options), close: () => ended(chromium) };
}

/** Ends a program and waits until it has. */
function ended(program) {
  return new Promise((done) => {
    program.on("exit", done);
    program.kill();
  });
}

async function open(port, { url, width, height, dark = false, scripts = true, scale = 1 }) {
  const target = await (await fetch(`http://127.0.0.1:${port}/json/new?about:blank`, { method: "PUT" })).json();
  const socket = new WebSocket(target.webSocketDebuggerUrl);
  await new Promise((opened) => socket.addEventListener("open", opened));
  const waiting = new Map();
  const problems = [];
  let last = 0;
  socket.addEventListener("message", ({ data }) => {
    const message = JSON.parse(data);
    if (message.id) return waiting.get(message.id)(message.result ?? message);
    if (message.method === "Runtime.exceptionThrown") problems.push(message.params.exceptionDetails.exception?.description);
    if (message.method === "Runtime.consoleAPICalled" && message.params.type === "error") problems.push("console.error");
    if (message.method === "Page.javascriptDialogOpening") problems.push("a dialog");
  });
  const send = (method, params = {}) => new Promise((answered, failed) => {
    waiting.set(++last, answered);
    socket.send(JSON.stringify({ id: last, method, params }));
    setTimeout(() => failed(new Error(`the browser does not answer ${method}`)), PATIENCE).unref();
  });
  for (const domain of ["Page", "Runtime"]) await send(`${domain}.enable`);
  await send("Emulation.setDeviceMetricsOverride", { width, height, deviceScaleFactor: scale, mobile: width < 500 });
  const scheme = { name: "prefers-color-scheme", value: dark ? "dark" : "light" };
  await send("Emulation.setEmulatedMedia", { features: [scheme] });
  await send("Emulation.setScriptExecutionDisabled", { value: !scripts });
  await send("Page.navigate", { url });

  /** The value of an expression in the page. */
  const ask = async (expression) => {
    const answer = await send("Runtime.evaluate", { expression, awaitPromise: true, returnByValue: true });
    if (answer.exceptionDetails) throw new Error(`${expression}: ${answer.exceptionDetails.exception?.description}`);
    return answer.result?.value;
  };
  /** Waits until an expression is true, and gives its value. */
  const until = async (expression) => {
    const began = Date.now();
    for (;;) {
      const value = await ask(expression).catch(() => undefined); // the page may just be loading
      if (value) return value;
      if (Date.now() - began > PATIENCE) {
        const shown = await ask("document.body.innerText.slice(0, 3000)").catch(() => "nothing");
        throw new Error(`never true: ${expression}\nthe page shows:\n${shown}`);
      }
      await new Promise((passed) => setTimeout(passed, 25));
    }
  };
  const key = async (name) => {
    const codes = { Enter: [13, "\r"], " ": [32, " "] };
    const [code, text] = codes[name];
    await send("Input.dispatchKeyEvent", { type: "keyDown", key: name, code: name, windowsVirtualKeyCode: code, text });
    await send("Input.dispatchKeyEvent", { type: "keyUp", key: name, code: name });
  };
  const type = (text) => send("Input.insertText", { text });
  const shoot = async (file) => {
    const { data } = await send("Page.captureScreenshot", {});
    writeFileSync(file, Buffer.from(data, "base64"));
  };
  // A page that closes may not get to answer.
  const close = () => Promise.race([send("Page.close"), new Promise((closed) => socket.addEventListener("close", closed))]);
  return { ask, until, key, type, shoot, problems, close };
}
