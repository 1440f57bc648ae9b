// Plays streams in headless Chromium, a page each and all at once, and prints what the pages saw as one line of JSON.
// node play.mjs SECONDS ARTIFACTS KIND=URL...   KIND: flv, ts (mpegts.js) or mp4 (the video element alone)
import { join } from 'node:path';
import { launch, site } from './chromium.mjs';

const [seconds, artifacts, ...plays] = process.argv.slice(2);

const page_html = `<!doctype html><meta charset="utf-8"><title>play</title>
<style>body{margin:0;background:#222;color:#eee;font:16px sans-serif}video{width:640px;height:360px;display:block}</style>
<video muted playsinline></video><p></p><script src="/mpegts.js/dist/mpegts.js"></script><script>
const [kind, url] = [new URLSearchParams(location.search).get('kind'), new URLSearchParams(location.search).get('url')];
const video = document.querySelector('video');
window.seen = { errors: [], first: null, start: null };
const begin = performance.now();
const fail = (what) => window.seen.errors.push(String(what));
addEventListener('error', (event) => fail(event.message));
video.addEventListener('error', () => fail('video element: ' + video.error.code + ' ' + video.error.message));
video.addEventListener('timeupdate', () => {
  if (window.seen.first === null && !video.paused && video.currentTime > 0 && video.readyState > 2) {
    window.seen.first = video.currentTime;
    window.seen.start = Math.round(performance.now() - begin);
  }
  document.querySelector('p').textContent = kind + ' ' + video.currentTime.toFixed(2);
});
if (kind === 'mp4') {
  video.src = url;
} else {
  const player = mpegts.createPlayer({ type: kind === 'ts' ? 'mpegts' : 'flv', isLive: true, url },
    { enableWorker: false, liveBufferLatencyChasing: false });
  player.on(mpegts.Events.ERROR, (type, detail, about) => fail(type + ' ' + detail + ' ' + (about && about.msg)));
  player.attachMediaElement(video);
  player.load();
}
video.play().catch(fail);
</script>`;

const { origin, close } = await site(page_html, ['mpegts.js/dist/mpegts.js']);
const browser = await launch();

async function watch(play) {
  const kind = play.slice(0, play.indexOf('='));
  const url = play.slice(kind.length + 1);
  const page = await browser.newPage({ viewport: { width: 640, height: 400 } });
  // A page counts as loaded when its video has its first picture, which is what is to be seen below.
  await page.goto(`${origin}/?kind=${kind}&url=${encodeURIComponent(url)}`, { waitUntil: 'commit' });
  const enough = (seconds) => {
    const { errors, first } = window.seen ?? { errors: [], first: null };
    const video = document.querySelector('video');
    return errors.length > 0 || (first !== null && video.currentTime - first >= seconds);
  };
  // The deadline only ends a page that stands still; what the page says below is the result either way.
  await page.waitForFunction(enough, Number(seconds), { timeout: 40000 }).catch(() => {});
  const seen = await page.evaluate(() => {
    const video = document.querySelector('video');
    const advanced = window.seen.first === null ? 0 : video.currentTime - window.seen.first;
    const { errors, start } = window.seen;
    return { start, advanced, decoded: video.getVideoPlaybackQuality().totalVideoFrames, errors };
  });
  await page.screenshot({ path: join(artifacts, `chromium-${kind}.png`) });
  return { kind, ...seen };
}

try {
  console.log(JSON.stringify(await Promise.all(plays.map(watch))));
} finally {
  await browser.close();
  close();
}
