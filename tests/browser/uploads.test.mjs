// Uploading: choosing, dropping, refusals, and going on after a break.

import assert from "node:assert/strict";
import fs from "node:fs";
import path from "node:path";
import { test } from "node:test";
import { connected, content, drop, eventually, hold, partial, row, scene, sceneByLine, uploadIs, uploadRow, write } from "./scene.mjs";

const MIB = 1024 * 1024;

/** What the page sends from now on: each PUT with its headers. */
function puts(page) {
    const seen = [];
    page.on("request", (request) => request.method() === "PUT" && seen.push(request.headers()));
    return seen;
}

test("a chosen file arrives as it is, with its time, and its progress is seen", async (t) => {
    const { page, server, local, line } = await sceneByLine(t, { allowance: 3 * MIB });
    const bytes = content(24 * MIB);
    const file = write(local, "año nuevo.bin", bytes);
    fs.utimesSync(file, 1_700_000_000, 1_700_000_000);
    await page.locator("#files-input").setInputFiles(file);
    const bar = uploadRow(page, "año nuevo.bin").locator("progress");
    let seen = 0;
    for (let step = 0; step < 3; step += 1) {
        seen = await eventually("the bar moves", async () => {
            const now = await bar.evaluate(({ value }) => value);
            return now > seen && now < 1 && now;
        });
        const words = /^\d+% of 24\.0 MiB · (.*left|nothing is moving)$|^24\.0 MiB · starting$/;
        await uploadRow(page, "año nuevo.bin").getByText(words).waitFor();
        // More than a kernel takes for itself before it lets the browser know.
        line.allow(4 * MIB);
    }
    line.allow(Infinity);
    await uploadIs(page, "año nuevo.bin", "stored");
    assert.ok(server.hosted("año nuevo.bin").equals(bytes));
    assert.equal(fs.statSync(path.join(server.dir, "año nuevo.bin")).mtimeMs, 1_700_000_000_000);
    await row(page, "año nuevo.bin").waitFor();
});

test("an upload of which nothing moves any more says so, and not how fast it was", async (t) => {
    const { page, local, line } = await sceneByLine(t, { allowance: 3 * MIB });
    await page.clock.install();
    await page.locator("#files-input").setInputFiles(write(local, "big.bin", content(24 * MIB)));
    // Little by little: of what moves in one moment no browser can say how fast it was.
    const left = uploadRow(page, "big.bin").getByText(/^\d+% of 24\.0 MiB · .*left$/);
    await eventually("it says how much time is left", () => {
        line.allow(32 * 1024);
        return left.isVisible();
    });
    await page.clock.fastForward(5000);
    await uploadRow(page, "big.bin").getByText(/^\d+% of 24\.0 MiB · nothing is moving$/).waitFor();
    await page.locator("#total-text").getByText(/^\d+\.\d MiB of 24\.0 MiB$/).waitFor();
    line.allow(Infinity);
    await uploadIs(page, "big.bin", "stored");
});

test("files go into the folder that is shown, and a chosen folder comes whole", async (t) => {
    const { page, server, local } = await scene(t, { files: { "in/here.txt": "x" }, at: "#/in" });
    write(local, "raw/1.jpg", "one");
    write(local, "raw/deep/2.jpg", "two");
    await page.locator("#folder-input").setInputFiles(path.join(local, "raw"));
    await uploadIs(page, "in/raw/deep/2.jpg", "stored");
    await uploadIs(page, "in/raw/1.jpg", "stored");
    assert.equal(String(server.hosted("in/raw/deep/2.jpg")), "two");
    await row(page, "raw").waitFor();
});

test("files and folders that are dropped are uploaded, and empty folders are told of", async (t) => {
    const { page, server, local } = await scene(t);
    const bytes = content(300_000);
    const paths = [write(local, "dropped.bin", bytes), path.join(local, "tree")];
    for (let number = 0; number < 150; number += 1) write(local, `tree/sub/${number}.txt`, String(number));
    fs.mkdirSync(path.join(local, "tree/nothing"));
    await drop(page, page.locator("#files"), paths);
    await page.getByText("151 files stored").waitFor();
    await page.getByText("1 empty folder was left out").waitFor();
    assert.ok(server.hosted("dropped.bin").equals(bytes));
    assert.equal(fs.readdirSync(path.join(server.dir, "tree/sub")).length, 150);
    assert.equal(await page.locator("#drop").isVisible(), false);
});

test("no more than three files are on their way at a time", async (t) => {
    const { page, local } = await scene(t);
    const paths = Array.from({ length: 9 }, (_, number) => write(local, `${number}.txt`, "x"));
    const { held, release } = await hold(page, "**/files/*");
    await page.locator("#files-input").setInputFiles(paths);
    await eventually("three are sent", () => held.length === 3);
    assert.equal(await page.locator("#upload-list [data-state=queued]").count(), 5);
    await page.getByText("1 more is waiting.").waitFor();
    await release();
    await page.getByText("9 files stored").waitFor();
});

test("a taken name becomes another one, and what is there already is not stored again", async (t) => {
    const { page, server, local } = await scene(t, { files: { "a.txt": "theirs", "same.txt": "same" } });
    await page.locator("#files-input").setInputFiles([write(local, "a.txt", "mine"), write(local, "same.txt", "same")]);
    await page.getByText("The name was taken: stored as a (1).txt").waitFor();
    await uploadRow(page, "same.txt").getByText("It was there already").waitFor();
    assert.deepEqual(["a.txt", "a (1).txt", "same (1).txt"].map((name) => server.hosted(name)?.toString()), ["theirs", "mine", undefined]);
});

test("an empty file is a file", async (t) => {
    const { page, server, local } = await scene(t);
    await page.locator("#files-input").setInputFiles(write(local, "empty.txt", ""));
    await uploadIs(page, "empty.txt", "stored");
    assert.equal(server.hosted("empty.txt").length, 0);
});

test("a refusal says why, and can be tried again when its cause is gone", async (t) => {
    const { page, server, local } = await scene(t, { args: ["--max-file-size", "1KiB"] });
    const { release } = await hold(page, "**/files/small.bin");
    const files = [["large.bin", 5000], ["a:b.txt", 1], ["small.bin", 1000]].map(([name, size]) => write(local, name, content(size)));
    await page.locator("#files-input").setInputFiles(files);
    await uploadIs(page, "large.bin", "failed");
    await uploadRow(page, "large.bin").getByText("It is larger than the server allows").waitFor();
    await uploadRow(page, "a:b.txt").getByText("Other systems cannot hold this name").waitFor();
    // What has failed is not waited for.
    await page.locator("#total-text").getByText("0 B of 1,000 B · 2 failed", { exact: true }).waitFor();
    await release();
    await uploadIs(page, "small.bin", "stored");
    await page.locator("#total-bar").waitFor({ state: "hidden" });
    server.args = [];
    await server.restart();
    await page.getByRole("button", { name: "Try large.bin again" }).click();
    await uploadIs(page, "large.bin", "stored");
});

test("a server that takes no uploads is not offered any", async (t) => {
    const { page } = await scene(t, { files: { "a.txt": "x" }, args: ["--read-only"] });
    await page.getByText("This server takes no uploads.").waitFor();
    assert.equal(await page.getByRole("button", { name: "Upload files" }).count(), 0);
});

test("an upload goes on where it was when the server was killed, and only the rest is sent", async (t) => {
    const { page, server, local, line } = await sceneByLine(t, { allowance: 8 * MIB });
    const sent = puts(page);
    const bytes = content(12 * MIB);
    await page.locator("#files-input").setInputFiles(write(local, "big.bin", bytes));
    await partial(server, 6 * MIB);
    await server.kill();
    await uploadIs(page, "big.bin", "waiting");
    await page.locator("#link[data-state=lost]").waitFor();
    line.allow(Infinity);
    await server.start();
    await uploadIs(page, "big.bin", "stored");
    await uploadRow(page, "big.bin").getByText(/went on from \d+%/).waitFor();
    assert.ok(server.hosted("big.bin").equals(bytes));
    const [, from] = /^bytes (\d+)-12582911\/12582912$/.exec(sent.at(-1)["content-range"]);
    assert.ok(Number(from) >= 6 * MIB, `from ${from}`);
    assert.equal(sent.at(-1)["hostdir-upload"], sent[0]["hostdir-upload"]);
    assert.match(sent.at(-1)["hostdir-prefix"], /^blake3=[0-9a-f]{64}$/);
});

test("an answer that never comes is not waited for for ever, and the file is there once", async (t) => {
    const { page, server, local } = await sceneByLine(t, { swallows: "PUT /files/small.txt " });
    await page.clock.install();
    await page.locator("#files-input").setInputFiles(write(local, "small.txt", "small"));
    await uploadIs(page, "small.txt", "finishing");
    await eventually("the server has it", () => server.hosted("small.txt"));
    await page.clock.fastForward(160_000);
    await uploadIs(page, "small.txt", "stored");
    assert.deepEqual(fs.readdirSync(server.dir).filter((name) => name.startsWith("small")), ["small.txt"]);
});

test("a question how much is there that is never answered is asked again", async (t) => {
    const { page, server, local } = await sceneByLine(t, { swallows: "GET /api/upload?" });
    await page.clock.install();
    const bytes = content(MIB);
    await page.locator("#files-input").setInputFiles(write(local, "big.bin", bytes));
    await uploadIs(page, "big.bin", "asking");
    await page.clock.fastForward(160_000);
    await uploadIs(page, "big.bin", "stored");
    assert.ok(server.hosted("big.bin").equals(bytes));
});

test("what a server holds that is not the beginning of the file is sent anew", async (t) => {
    const { page, server, local, line } = await sceneByLine(t, { allowance: 4 * MIB });
    const sent = puts(page);
    const bytes = content(6 * MIB);
    await page.locator("#files-input").setInputFiles(write(local, "big.bin", bytes));
    const held = await partial(server, 2 * MIB);
    await server.kill();
    const file = fs.openSync(held, "r+");
    fs.writeSync(file, "other", 1000);
    fs.closeSync(file);
    line.allow(Infinity);
    await server.start();
    await uploadIs(page, "big.bin", "stored");
    assert.ok(server.hosted("big.bin").equals(bytes));
    assert.equal(sent.at(-1)["content-range"], undefined);
});

test("a line that breaks again and again delays an upload and nothing else", async (t) => {
    const { page, server, local, line } = await sceneByLine(t, { allowance: 3 * MIB });
    const bytes = content(24 * MIB);
    await page.locator("#files-input").setInputFiles(write(local, "big.bin", bytes));
    for (const [reached, more] of [[2, 5 * MIB], [6, Infinity]]) {
        await partial(server, reached * MIB);
        line.cut();
        line.allow(more);
    }
    await uploadIs(page, "big.bin", "stored");
    assert.ok(server.hosted("big.bin").equals(bytes));
    // Nothing that had arrived was sent again, also not by the browser behind the page's back.
    const ended = await eventually("the log has the end", () => /path=big\.bin.*status=ok/.test(server.transfers()) && server.transfers());
    const taken = [...ended.matchAll(/bytes=(\d+)/g)].reduce((sum, [, count]) => sum + Number(count), 0);
    assert.equal(taken, bytes.length, ended);
});

test("a full disk is told before a byte is sent", async (t) => {
    const { page, local } = await scene(t, { args: ["--min-free-space", "1000TiB"] });
    const sent = puts(page);
    await page.locator("#files-input").setInputFiles(write(local, "big.bin", content(2 * MIB)));
    await uploadRow(page, "big.bin").getByText("The server's disk is full").waitFor();
    assert.deepEqual(sent, []);
});

test("a file that is chosen again after the page was closed goes on", async (t) => {
    const { page, context, server, local, line } = await sceneByLine(t, { allowance: 6 * MIB });
    const bytes = content(8 * MIB);
    const file = write(local, "big.bin", bytes);
    await page.locator("#files-input").setInputFiles(file);
    await partial(server, 4 * MIB);
    await page.close();
    line.cut();
    line.allow(Infinity);
    const again = await context.newPage();
    const sent = puts(again);
    await again.goto(line.url);
    await connected(again);
    await again.locator("#files-input").setInputFiles(file);
    await uploadIs(again, "big.bin", "stored");
    assert.ok(server.hosted("big.bin").equals(bytes));
    assert.match(sent.at(-1)["content-range"], /^bytes [1-9]/);
});

test("a cancelled upload leaves nothing behind, and can be taken up again", async (t) => {
    const { page, server, local, line } = await sceneByLine(t, { allowance: 3 * MIB });
    const bytes = content(4 * MIB);
    await page.locator("#files-input").setInputFiles(write(local, "big.bin", bytes));
    await partial(server, 2 * MIB);
    await page.getByRole("button", { name: "Cancel big.bin" }).click();
    // What the browser had handed over before does not count any more either.
    line.cut();
    line.allow(Infinity);
    await uploadIs(page, "big.bin", "cancelled");
    assert.equal(server.hosted("big.bin"), null);
    await page.getByRole("button", { name: "Try big.bin again" }).click();
    await uploadIs(page, "big.bin", "stored");
    assert.ok(server.hosted("big.bin").equals(bytes));
});

test("a file that is changed while it is sent is not stored, and the page says what to do", async (t) => {
    const { page, server, local, line } = await sceneByLine(t, { allowance: 3 * MIB });
    const file = write(local, "big.bin", content(4 * MIB));
    await page.locator("#files-input").setInputFiles(file);
    await partial(server, 2 * MIB);
    fs.writeFileSync(file, "something else");
    line.cut();
    line.allow(Infinity);
    await uploadRow(page, "big.bin").getByText(/The file was changed or can no longer be read/).waitFor();
    assert.equal(server.hosted("big.bin"), null);
});

test("more than a hundred files arrive, and the list stays short", async (t) => {
    const { page, server, local } = await scene(t);
    for (let number = 0; number < 130; number += 1) write(local, `many/${number}.txt`, String(number));
    await page.locator("#folder-input").setInputFiles(path.join(local, "many"));
    await page.getByText("130 files stored").waitFor();
    assert.equal(fs.readdirSync(path.join(server.dir, "many")).length, 130);
    assert.ok(await page.locator("#upload-list .upload").count() <= 20);
    await page.getByRole("button", { name: "Clear finished" }).click();
    assert.equal(await page.locator("#uploads").isVisible(), false);
});
