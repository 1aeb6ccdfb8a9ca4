// The page over TLS: requests, uploads and the WebSocket, all of them within it.

import assert from "node:assert/strict";
import { test } from "node:test";
import { content, download, event, follow, partial, row, scene, sceneByLine, uploadIs, uploadRow, write } from "./scene.mjs";

const MIB = 1024 * 1024;

/** The server's key is its own: nobody vouches for it, and a visitor has to say that this is all right. */
const SECURED = { args: ["--tls"], visitor: { ignoreHTTPSErrors: true } };

test("over TLS the page lists, downloads, uploads and follows as it does without", async (t) => {
    const bytes = content(3 * MIB);
    const { page, server, local } = await scene(t, { files: { "photos/film.mkv": bytes }, at: "#/photos", ...SECURED });
    assert.equal(new URL(page.url()).protocol, "https:");
    const sockets = [];
    page.on("websocket", (socket) => sockets.push(new URL(socket.url()).protocol));
    assert.ok((await download(page, row(page, "film.mkv").locator("a"))).bytes.equals(bytes));
    await follow(page, "photos");
    assert.deepEqual(sockets, ["wss:"]);
    await page.locator("#files-input").setInputFiles(write(local, "from here.bin", bytes));
    await uploadIs(page, "photos/from here.bin", "stored");
    assert.ok(server.hosted("photos/from here.bin").equals(bytes));
    await event(page, "arrived", "from here.bin").waitFor();
    await server.client(["publish", "photos", write(local, "from the terminal.bin", bytes), "--wait", "0"]);
    const arrived = event(page, "arrived", "from the terminal.bin");
    assert.ok((await download(page, arrived.locator("a"))).bytes.equals(bytes));
});

test("an address with the server's key, as its QR code has it, leads to the page", async (t) => {
    const { page } = await scene(t, { files: { "x.txt": "x" }, at: "#key=sha256//DwsuHUIm5R/9pHT6H4tkcLsibozyxJVpT4WhDsMVEzU=", ...SECURED });
    await row(page, "x.txt").waitFor();
});

test("an upload over TLS goes on where it was when the connection broke", async (t) => {
    const { page, server, local, line } = await sceneByLine(t, { allowance: 8 * MIB }, SECURED);
    const bytes = content(12 * MIB);
    await page.locator("#files-input").setInputFiles(write(local, "big.bin", bytes));
    await partial(server, 6 * MIB);
    line.cut();
    line.allow(Infinity);
    await uploadIs(page, "big.bin", "stored");
    await uploadRow(page, "big.bin").getByText(/went on from \d+%/).waitFor();
    assert.ok(server.hosted("big.bin").equals(bytes));
});
