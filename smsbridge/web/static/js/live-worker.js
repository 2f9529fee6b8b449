/** The SharedWorker: one event stream for all tabs of a browser; every tab hears everything. */
import { stream } from "./live-stream.js";

const ports = new Set();
let running = null;
let state = "idle";
let person = ""; // whose stream it is
let last_id = "";

const tell = (message) => {
  for (const port of ports) port.postMessage(message);
};

function start(address, who) {
  if (who !== person) {
    stop();
    last_id = "";
    person = who;
  }
  if (running) return;
  running = stream(
    address,
    {
      onEvent: (type, data) => tell({ type, data }),
      onState: (now) => {
        state = now;
        tell({ type: ":state", data: now });
      },
    },
    last_id,
  );
}

function stop() {
  last_id = running?.stop() ?? last_id;
  running = null;
  state = "idle";
}

self.onconnect = (event) => {
  const port = event.ports[0];
  port.onmessage = ({ data }) => {
    if (data.kind === "start") {
      ports.add(port);
      start(data.address, data.person);
      port.postMessage({ type: ":state", data: state });
    } else if (data.kind === "restart") {
      stop(); // a new session goes on where the old one ended
      start(data.address, data.person);
    } else if (data.kind === "nudge") {
      if (state !== "open") running?.nudge();
    } else if (data.kind === "bye") {
      ports.delete(port);
      if (!ports.size) stop();
    }
  };
  port.postMessage({ type: ":ready", data: null });
};
