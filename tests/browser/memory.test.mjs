// A large file, down and up, and how much memory the page's process takes for it.

import assert from "node:assert/strict";
import fs from "node:fs";
import path from "node:path";
import { test } from "node:test";
import { eventually, isLong, row, scene, sparse, theBrowser, uploadIs, uploadRow } from "./scene.mjs";

const MIB = 1024 * 1024;
const SIZE = (isLong ? 3072 : 300) * MIB;
/** What the page may take beside its own needs: a few buffers, whatever the size of the file. */
const ALLOWED = 96 * MIB;

/** The process of the page: the only renderer, as every window of the test but one is closed. */
async function rendererOf(page) {
    const devtools = await (await theBrowser()).newBrowserCDPSession();
    const { processInfo } = await devtools.send("SystemInfo.getProcessInfo");
    const renderers = processInfo.filter(({ type }) => type === "renderer").map(({ id }) => id);
    // The one that works when the page does.
    const ticks = (pid) => Number(fs.readFileSync(`/proc/${pid}/stat`, "utf8").split(") ")[1].split(" ")[11]);
    const before = renderers.map(ticks);
    await page.evaluate(() => { for (const end = performance.now() + 300; performance.now() < end;); });
    const worked = renderers.map((pid, place) => ticks(pid) - before[place]);
    return renderers[worked.indexOf(Math.max(...worked))];
}

/** A figure of `/proc/PID/status`, in bytes. */
const figure = (pid, name) => Number(new RegExp(`${name}:\\s+(\\d+) kB`).exec(fs.readFileSync(`/proc/${pid}/status`, "utf8"))[1]) * 1024;

/** How much more memory than at the beginning the page's process had at any moment of `act`. */
async function growth(page, act) {
    const pid = await rendererOf(page);
    // Forget the peak so far (man 5 proc).
    fs.writeFileSync(`/proc/${pid}/clear_refs`, "5");
    const before = figure(pid, "VmRSS");
    await act();
    return figure(pid, "VmHWM") - before;
}

test("a large file is downloaded and uploaded, and the page's memory stays flat", async (t) => {
    const { page, server, local } = await scene(t, { fill: (host) => sparse(host, "down.bin", SIZE) });
    await row(page, "down.bin").waitFor();
    const down = await growth(page, async () => {
        const [begun] = await Promise.all([page.waitForEvent("download"), row(page, "down.bin").locator("a").click()]);
        assert.equal(fs.statSync(await begun.path()).size, SIZE);
        await begun.delete();
    });
    assert.ok(down < ALLOWED, `the page grew by ${down} bytes in a download of ${SIZE}`);
    const up = await growth(page, async () => {
        await page.locator("#files-input").setInputFiles(sparse(local, "up.bin", SIZE));
        await uploadIs(page, "up.bin", "stored");
    });
    assert.ok(up < ALLOWED, `the page grew by ${up} bytes in an upload of ${SIZE}`);
    assert.equal(fs.statSync(path.join(server.dir, "up.bin")).size, SIZE);
    t.diagnostic(`of ${SIZE / MIB} MiB: down ${(down / MIB).toFixed(1)} MiB, up ${(up / MIB).toFixed(1)} MiB`);
});

test("what a server holds of a large file is compared in pieces", async (t) => {
    const { page, server, local } = await scene(t);
    await row(page, "x").waitFor({ state: "detached" });
    const grown = await growth(page, async () => {
        await page.locator("#files-input").setInputFiles(sparse(local, "up.bin", SIZE));
        const folder = path.join(server.dir, ".hostdir/partial");
        await eventually("half of it is there", () => fs.existsSync(folder) && fs.readdirSync(folder).some((name) => fs.statSync(path.join(folder, name), { throwIfNoEntry: false })?.size > SIZE / 2));
        await server.kill();
        await server.start();
        await uploadIs(page, "up.bin", "stored");
    });
    await uploadRow(page, "up.bin").getByText(/went on from \d+%/).waitFor();
    assert.ok(grown < ALLOWED, `the page grew by ${grown} bytes`);
    assert.equal(fs.statSync(path.join(server.dir, "up.bin")).size, SIZE);
    t.diagnostic(`while comparing ${(grown / MIB).toFixed(1)} MiB`);
});
