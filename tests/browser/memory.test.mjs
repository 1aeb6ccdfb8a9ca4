// A large file, down and up, and how much memory the page's process takes for it.

import assert from "node:assert/strict";
import fs from "node:fs";
import path from "node:path";
import { test } from "node:test";
import { isLong, partial, row, scene, sceneByLine, sparse, theBrowser, uploadIs, uploadRow } from "./scene.mjs";

const MIB = 1024 * 1024;
const SIZE = (isLong ? 3072 : 200) * MIB;
/** What the page may take beside its own needs: a few buffers, whatever the size of the file. */
const ALLOWED = 96 * MIB;

/** The processes that show pages: one of them is the page's, the others do nothing. */
async function renderers() {
    const devtools = await (await theBrowser()).newBrowserCDPSession();
    const { processInfo } = await devtools.send("SystemInfo.getProcessInfo");
    return processInfo.filter(({ type }) => type === "renderer").map(({ id }) => id);
}

/** A figure of `/proc/PID/status`, in bytes; null of a process that has ended. */
function figure(pid, name) {
    try {
        const found = new RegExp(`${name}:\\s+(\\d+) kB`).exec(fs.readFileSync(`/proc/${pid}/status`, "utf8"));
        return found && Number(found[1]) * 1024;
    } catch {
        return null;
    }
}

/** Forgets the peak so far (man 5 proc); whether the process is still there. */
function forgetPeak(pid) {
    try {
        fs.writeFileSync(`/proc/${pid}/clear_refs`, "5");
        return true;
    } catch {
        return false;
    }
}

/** How much more memory than at the beginning the page's process had at any moment of `act`. */
async function growth(act) {
    const before = new Map();
    for (const pid of await renderers()) {
        const resident = forgetPeak(pid) ? figure(pid, "VmRSS") : null;
        if (resident !== null) before.set(pid, resident);
    }
    await act();
    const peaks = (await renderers()).filter((pid) => before.has(pid)).map((pid) => [pid, figure(pid, "VmHWM")]);
    const grown = peaks.filter(([, peak]) => peak !== null).map(([pid, peak]) => peak - before.get(pid));
    assert.ok(grown.length > 0);
    return Math.max(...grown);
}

test("a large file is downloaded and uploaded, and the page's memory stays flat", async (t) => {
    const { page, server, local } = await scene(t, { fill: (host) => sparse(host, "down.bin", SIZE) });
    await row(page, "down.bin").waitFor();
    const down = await growth(async () => {
        const [begun] = await Promise.all([page.waitForEvent("download"), row(page, "down.bin").locator("a").click()]);
        assert.equal(fs.statSync(await begun.path()).size, SIZE);
        await begun.delete();
    });
    assert.ok(down < ALLOWED, `the page grew by ${down} bytes in a download of ${SIZE}`);
    const up = await growth(async () => {
        await page.locator("#files-input").setInputFiles(sparse(local, "up.bin", SIZE));
        await uploadIs(page, "up.bin", "stored");
    });
    assert.ok(up < ALLOWED, `the page grew by ${up} bytes in an upload of ${SIZE}`);
    assert.equal(fs.statSync(path.join(server.dir, "up.bin")).size, SIZE);
    t.diagnostic(`of ${SIZE / MIB} MiB: down ${(down / MIB).toFixed(1)} MiB, up ${(up / MIB).toFixed(1)} MiB`);
});

test("what a server holds of a large file is compared in pieces", async (t) => {
    const { page, server, local, line } = await sceneByLine(t, { allowance: SIZE * 0.7 });
    const grown = await growth(async () => {
        await page.locator("#files-input").setInputFiles(sparse(local, "up.bin", SIZE));
        await partial(server, SIZE / 2);
        line.cut();
        line.allow(Infinity);
        await uploadIs(page, "up.bin", "stored");
    });
    await uploadRow(page, "up.bin").getByText(/went on from \d+%/).waitFor();
    assert.ok(grown < ALLOWED, `the page grew by ${grown} bytes`);
    assert.equal(fs.statSync(path.join(server.dir, "up.bin")).size, SIZE);
    t.diagnostic(`while comparing ${(grown / MIB).toFixed(1)} MiB`);
});
