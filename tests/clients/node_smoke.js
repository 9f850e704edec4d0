// An application written against ioredis: each type, a transaction, messages and a blocking pop.
// usage: node node_smoke.js <port>, with ioredis to be found; run by tests/system/clients_node_test.py.
const assert = require("assert");
const Redis = require("ioredis");

async function main(port) {
  const one = new Redis({ port, lazyConnect: true });
  const other = new Redis({ port, lazyConnect: true });
  await one.connect();
  await other.connect();

  assert.strictEqual(await one.set("js:s", "v", "EX", 1000), "OK");
  assert.strictEqual(await one.get("js:s"), "v");
  assert.deepStrictEqual(await one.getBuffer("js:s"), Buffer.from("v"));
  assert.strictEqual(await one.hset("js:h", { f: 1, g: 2 }), 2);
  assert.deepStrictEqual(await one.hgetall("js:h"), { f: "1", g: "2" });
  assert.strictEqual(await one.rpush("js:l", "a", "b"), 2);
  assert.deepStrictEqual(await one.lrange("js:l", 0, -1), ["a", "b"]);
  assert.strictEqual(await one.sadd("js:set", "x"), 1);
  assert.strictEqual(await one.zadd("js:z", 1.5, "m"), 1);
  assert.deepStrictEqual(await one.zrange("js:z", 0, -1, "WITHSCORES"), ["m", "1.5"]);
  assert.strictEqual(await one.pfadd("js:p", "a", "b"), 1);
  assert.strictEqual(await one.pfcount("js:p"), 2);
  assert.strictEqual(await one.geoadd("js:g", 13.361389, 38.115556, "Palermo"), 1);
  assert.deepStrictEqual(await one.sort("js:l", "ALPHA", "DESC"), ["b", "a"]);

  assert.deepStrictEqual(await one.multi().incr("js:n").incr("js:n").exec(), [[null, 1], [null, 2]]);
  const answers = await one.pipeline().get("js:s").incr("js:s").get("js:n").exec();
  assert.strictEqual(answers[0][1], "v");
  assert.match(answers[1][0].message, /not an integer/);
  assert.strictEqual(answers[2][1], "2");

  const message = new Promise((resolve) => other.on("message", (channel, text) => resolve([channel, text])));
  await other.subscribe("js:channel");
  assert.strictEqual(await one.publish("js:channel", "hello"), 1);
  assert.deepStrictEqual(await message, ["js:channel", "hello"]);
  await other.unsubscribe("js:channel");

  const popped = other.blpop("js:queue", 20);
  assert.strictEqual(await one.rpush("js:queue", "job"), 1);
  assert.deepStrictEqual(await popped, ["js:queue", "job"]);

  const [known] = await one.command("INFO", "xadd");
  if (known !== null) {
    const id = await one.xadd("js:x", "*", "f", "1");
    assert.deepStrictEqual(await one.xrange("js:x", "-", "+"), [[id, ["f", "1"]]]);
    await one.xgroup("CREATE", "js:x", "group", "0");
    const [[, entries]] = await one.xreadgroup("GROUP", "group", "me", "STREAMS", "js:x", ">");
    assert.strictEqual(entries.length, 1);
    assert.strictEqual(await one.xack("js:x", "group", id), 1);
  }

  await one.quit();
  await other.quit();
}

main(Number(process.argv[2])).catch((error) => {
  console.error(error);
  process.exit(1);
});
