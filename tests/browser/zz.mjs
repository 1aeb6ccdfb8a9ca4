import { test } from "node:test"; import fs from "node:fs"; import { connected, content, sceneByLine, partial, write, uploadIs, eventually } from "./scene.mjs";
const MIB=1<<20;
test("m", async (t) => {
    const { page, server, local, line } = await sceneByLine(t, { allowance: 4 * MIB });
    const bytes = content(20 * MIB);
    page.on('request',r=>console.log('>',r.method(),r.url().slice(21),r.headers()['content-range']));
    page.on('response',async r=>console.log('<',r.status(),r.url().slice(21,40),(await r.text().catch(()=>'')).slice(0,150)));
    page.on('requestfailed',r=>console.log('x',r.url().slice(21,60),r.failure().errorText));
    await page.locator("#files-input").setInputFiles(write(local, "big.bin", bytes));
    await partial(server,2*MIB);
    console.log('cut'); line.cut(); line.allow(5*MIB);
    await page.waitForTimeout(4000);
    console.log(fs.readdirSync(server.dir+'/.hostdir/partial').map(n=>n+' '+fs.statSync(server.dir+'/.hostdir/partial/'+n).size), line.allowance, line.waiting.size);
    line.allow(Infinity);
    await uploadIs(page,"big.bin","stored");
    console.log(await page.locator('.said').allTextContents());
    console.log(fs.readFileSync(server.logs+'/transfers.log','utf8'));
});
