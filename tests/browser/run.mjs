// Serves the page of phone.html to a headless Chromium, which calls, and says what becomes of the call, a line of JSON each:
//
//     node run.mjs sip=wss://127.0.0.1:8443 to=sip:100@127.0.0.1 certificate=server.pem codec=opus ends=us
//
// With page=called, it is that of called.html, which registers and is called. The other words are parameters of the page
// (phone.js, called.js). Of `certificate`, the server is taken to be the one that it claims to be. The exit status is 0 if
// the call went both ways and ended as `ends` says.
import { spawn } from "node:child_process";
import { X509Certificate, createHash } from "node:crypto";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { createServer } from "node:http";
import { tmpdir } from "node:os";
import { join } from "node:path";

const { certificate, page: name = "phone", ...parameters } = Object.fromEntries(process.argv.slice(2).map((it) => it.split(/=(.*)/s)));
const limitMs = 60_000;
const home = mkdtempSync(join(tmpdir(), "browser-"));
let chromium;

function end(status) {
  if (!chromium) {
    process.exit(status);
  }
  chromium.once("exit", () => {
    rmSync(home, { recursive: true, force: true, maxRetries: 5 });
    process.exit(status);
  });
  chromium.kill("SIGKILL");
}

function verdict({ by, packets, sent, energy, codec, heardMs }) {
  const wanted = (parameters.codec ?? "opus").toLowerCase();
  const faults = [
    by !== (parameters.ends ?? "us") && `it was ended by ${by}`,
    codec.toLowerCase() !== `audio/${wanted}` && `the codec is ${codec}`,
    !(packets > 150 && sent > 150) && "too few packets",
    !(energy > 0.0001 && heardMs) && "the greeting was not heard",
  ].filter(Boolean);
  for (const fault of faults) {
    console.log(`fault: ${fault}`);
  }
  return faults.length === 0 ? 0 : 1;
}

const server = createServer((request, response) => {
  const path = new URL(request.url, "http://localhost").pathname;
  if (path === "/report") {
    let body = "";
    request.on("data", (chunk) => (body += chunk));
    request.on("end", () => {
      response.end();
      console.log(body);
      const report = JSON.parse(body);
      if (report.kind === "failed") {
        end(1);
      } else if (report.kind === "over") {
        end(name === "phone" ? verdict(report) : Number(report.by !== (parameters.ends ?? "us")));
      }
    });
    return;
  }
  const files = { "/": [`${name}.html`, "text/html"], [`/${name}.js`]: [`${name}.js`, "text/javascript"] };
  const [file, type] = files[path] ?? [];
  if (!file) {
    response.writeHead(404).end();
    return;
  }
  response.writeHead(200, { "Content-Type": type }).end(readFileSync(new URL(file, import.meta.url)));
});

// Chromium takes a certificate that no authority of its own has issued if its key is the one that is named.
function trusted() {
  if (!certificate) {
    return [];
  }
  const key = new X509Certificate(readFileSync(certificate)).publicKey.export({ type: "spki", format: "der" });
  return [`--ignore-certificate-errors-spki-list=${createHash("sha256").update(key).digest("base64")}`];
}

server.listen(0, "127.0.0.1", () => {
  const page = `http://127.0.0.1:${server.address().port}/?${new URLSearchParams(parameters)}`;
  const flags = [
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync", "--disable-dev-shm-usage", "--use-fake-device-for-media-stream",
    "--use-fake-ui-for-media-stream", "--autoplay-policy=no-user-gesture-required", "--allow-loopback-in-peer-connection",
    "--disable-features=WebRtcHideLocalIpsWithMdns", "--remote-debugging-pipe", `--user-data-dir=${home}`, ...trusted(), page,
  ];
  // It ends when nobody is left at the other end of its pipes, however this ends.
  const stdio = process.env.VERBOSE ? "inherit" : "ignore";
  chromium = spawn("chromium", flags, { stdio: [stdio, stdio, stdio, "pipe", "pipe"] });
  chromium.on("error", (error) => {
    console.log(`chromium does not start: ${error}; scripts/setup.sh run test installs it`);
    process.exit(1);
  });
});
process.on("SIGTERM", () => end(1));
setTimeout(() => {
  console.log("nothing more happens");
  end(1);
}, limitMs);
