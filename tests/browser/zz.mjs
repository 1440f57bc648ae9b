import { launch, site } from './chromium.mjs'; import { readFileSync } from 'node:fs';
const {origin,close}=await site(readFileSync('watch.html'),['hls.js/dist/hls.js','dashjs/dist/modern/umd/dash.all.debug.js','shaka-player/dist/shaka-player.compiled.js','mpegts.js/dist/mpegts.js']);
const b=await launch(); const p=await b.newPage(); const t0=Date.now(); const m=new Map();
p.on('request',r=>{ if(!r.url().startsWith(origin)) m.set(r,Date.now()) });
p.on('requestfinished',r=>{ if(m.has(r)) console.log(((m.get(r)-t0)/1000).toFixed(2),'+'+(Date.now()-m.get(r)),r.url().slice(22), r.headers().range??'') });
p.on('requestfailed',r=>{ if(m.has(r)) console.log(((m.get(r)-t0)/1000).toFixed(2),'FAILED',r.url().slice(22)) });
await p.goto(origin+'/?'+new URLSearchParams({player:process.argv[3],url:process.argv[2],seconds:process.argv[4]??6,back:5,again:3}));
await new Promise(r=>setTimeout(r,Number(process.argv[5]??9000))); console.log(await p.evaluate(()=>seen.phase+' '+seen.advanced+' '+JSON.stringify(seen.rebuffers))); await b.close(); close();
