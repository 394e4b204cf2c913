// Serves the page of phone.html to a headless Chromium and says what becomes of its call: node run.mjs ws://… sip:… codec
import { spawn } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { createServer } from "node:http";
import { tmpdir } from "node:os";
import { join } from "node:path";

const [sip, to, codec = "opus"] = process.argv.slice(2);
const limitMs = 60_000;
const home = mkdtempSync(join(tmpdir(), "browser-"));
let chromium;

function end(status) {
  chromium?.kill("SIGKILL");
  chromium?.once("exit", () => {
    rmSync(home, { recursive: true, force: true, maxRetries: 5 });
    process.exit(status);
  });
}

const server = createServer((request, response) => {
  const path = new URL(request.url, "http://localhost").pathname;
  if (path === "/report") {
    let body = "";
    request.on("data", (chunk) => (body += chunk));
    request.on("end", () => {
      response.end();
      console.log(body);
      const { kind, packets, energy, sent } = JSON.parse(body);
      if (kind === "failed") {
        end(1);
      } else if (kind === "over") {
        end(packets > 150 && energy > 0.0001 && sent > 150 ? 0 : 1);
      }
    });
    return;
  }
  const files = { "/": ["phone.html", "text/html"], "/phone.js": ["phone.js", "text/javascript"] };
  const [file, type] = files[path] ?? [];
  if (!file) {
    response.writeHead(404).end();
    return;
  }
  response.writeHead(200, { "Content-Type": type }).end(readFileSync(new URL(file, import.meta.url)));
});

server.listen(0, "127.0.0.1", () => {
  const page = `http://127.0.0.1:${server.address().port}/?${new URLSearchParams({ sip, to, codec })}`;
  const flags = [
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync", "--disable-dev-shm-usage", "--use-fake-device-for-media-stream",
    "--use-fake-ui-for-media-stream", "--autoplay-policy=no-user-gesture-required", "--allow-loopback-in-peer-connection",
    "--disable-features=WebRtcHideLocalIpsWithMdns", `--user-data-dir=${home}`, page,
  ];
  chromium = spawn("chromium", flags, { stdio: process.env.VERBOSE ? "inherit" : "ignore" });
  chromium.on("error", (error) => { console.log(String(error)); process.exit(1); });
});
setTimeout(() => { console.log("nothing more happens"); end(1); }, limitMs);
