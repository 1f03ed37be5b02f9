// A Sparkplug host application: prints every message as a line of JSON, and asks for rebirths by lines on its input.
// Arguments: port, user name, password, group.
const readline = require("node:readline");
const mqtt = require("mqtt");
const sparkplug = require("sparkplug-payload").get("spBv1.0");

const [port, username, password, group] = process.argv.slice(2);
const client = mqtt.connect({ host: "127.0.0.1", port: Number(port), username, password, protocolVersion: 5 });

function say(document) {
  const plain = (_key, value) => (value && typeof value === "object" && value.constructor.name === "Long" ? value.toNumber() : value);
  process.stdout.write(JSON.stringify(document, plain) + "\n");
}

client.on("connect", () => client.subscribe(`spBv1.0/${group}/#`, { qos: 1 }, () => say({ kind: "ready" })));
client.on("error", (error) => say({ kind: "error", error: String(error) }));
client.on("message", (topic, payload, packet) => {
  const [, , kind, node, device] = topic.split("/");
  if (kind !== "NCMD") {
    say({ kind, node, device: device ?? "", retained: packet.retain, payload: sparkplug.decodePayload(payload) });
  }
});

readline.createInterface({ input: process.stdin }).on("line", (node) => {
  const metrics = [{ name: "Node Control/Rebirth", type: "Boolean", value: true }];
  client.publish(`spBv1.0/${group}/NCMD/${node}`, sparkplug.encodePayload({ timestamp: Date.now(), metrics }));
});
