/** Files that people drop or paste, wherever on the page. */

/**
 * Take files that are dropped or pasted.
 *
 * @param {(files: File[]) => void} take gets them; of folders, what is in them.
 * @param {AbortSignal} signal ends it.
 */
export function arrivals(take, signal) {
  const mark = (dropping) => document.body.classList.toggle("dropping", dropping);
  const listen = (type, react) => document.addEventListener(type, react, { signal });
  const listenToFiles = (type, react) =>
    listen(type, (event) => {
      if (event.dataTransfer?.types.includes("Files")) react(event);
    });

  listenToFiles("dragover", (event) => {
    event.preventDefault();
    event.dataTransfer.dropEffect = "copy";
    mark(true);
  });
  listenToFiles("dragleave", (event) => {
    if (!event.relatedTarget) mark(false);
  });
  listenToFiles("drop", async (event) => {
    event.preventDefault();
    mark(false);
    take(await unpacked(event.dataTransfer));
  });
  listen("paste", (event) => {
    const files = [...(event.clipboardData?.files ?? [])];
    if (files.length === 0) return;
    event.preventDefault();
    take(files);
  });
  signal.addEventListener("abort", () => mark(false));
}

/** The items are gone once this has waited for anything, so all of them are asked for first. */
async function unpacked(transfer) {
  const plain = [...transfer.files];
  const entries = [...transfer.items].map((item) => item.webkitGetAsEntry?.());
  if (!entries.some((entry) => entry?.isDirectory)) return plain;
  return (await Promise.all(entries.filter(Boolean).map(filesOf))).flat();
}

async function filesOf(entry) {
  if (entry.isFile) return [await new Promise((done, failed) => entry.file(done, failed))];
  const reader = entry.createReader();
  const found = [];
  for (;;) {
    const some = await new Promise((done, failed) => reader.readEntries(done, failed));
    if (some.length === 0) break;
    found.push(...some);
  }
  return (await Promise.all(found.map(filesOf))).flat();
}
