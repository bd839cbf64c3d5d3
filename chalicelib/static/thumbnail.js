/** Small copies of pictures, so that many large ones do not fill a phone's memory. */

import { Slots } from "./slots.js";

/** Pixels of a thumbnail's longer side, enough for a sharp screen. */
const SIDE = 480;

/** How many pictures are unpacked at a time: each may take some hundred megabytes then. */
const slots = new Slots(2);

/**
 * Make a thumbnail.
 *
 * @param {File} file
 * @returns {Promise<string | null>} a blob: address, to be revoked by whoever asked; null if this browser cannot show the
 *   picture, as many cannot show TIFF.
 */
export function thumbnail(file) {
  return slots.run(async () => {
    try {
      return URL.createObjectURL(await smaller(file));
    } catch {
      return null;
    }
  });
}

async function smaller(file) {
  const whole = await createImageBitmap(file);
  const scale = Math.min(1, SIDE / Math.max(whole.width, whole.height));
  const canvas = document.createElement("canvas");
  canvas.width = Math.max(1, Math.round(scale * whole.width));
  canvas.height = Math.max(1, Math.round(scale * whole.height));
  const context = canvas.getContext("2d");
  context.fillStyle = "white";
  context.fillRect(0, 0, canvas.width, canvas.height);
  context.imageSmoothingQuality = "high";
  context.drawImage(whole, 0, 0, canvas.width, canvas.height);
  whole.close();
  const blob = await new Promise((done) => canvas.toBlob(done, "image/jpeg", 0.85));
  if (!blob) throw new Error("no thumbnail");
  return blob;
}
