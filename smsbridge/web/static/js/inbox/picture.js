/** Makes pictures small enough for the line, in the browser, before anything is uploaded. */

const SIDES = [2048, 1600, 1280, 1024, 800, 640];
const QUALITIES = [0.86, 0.76, 0.64];

/** Tell whether this browser can make a picture of this type smaller (moving ones stay as they are). */
export const canFit = (type) => /^image\/(jpeg|png|webp|bmp|avif|heic|heif)$/.test(type);

/**
 * Scale a picture down until it fits.
 * @param {File|Blob} file
 * @param {number} limit_bytes what the line takes; 0 for no limit
 * @returns {Promise<{blob: Blob, width: number, height: number, from_width: number, from_height: number}|null>}
 *   null when it fits already, or when this browser cannot read it (the server tries then)
 */
export async function fit(file, limit_bytes) {
  if (!canFit(file.type)) return null;
  let picture;
  try {
    picture = await createImageBitmap(file, { imageOrientation: "from-image" });
  } catch {
    return null;
  }
  try {
    const longest = Math.max(picture.width, picture.height);
    const small = (!limit_bytes || file.size <= limit_bytes) && longest <= SIDES[0];
    const readable = /^image\/(jpeg|png|webp|bmp)$/.test(file.type);
    if (small && readable) return null;
    let best = null;
    for (const side of SIDES) {
      if (side > longest && best) continue;
      const share = Math.min(1, side / longest);
      const [width, height] = [Math.max(1, Math.round(picture.width * share)), Math.max(1, Math.round(picture.height * share))];
      for (const quality of QUALITIES) {
        const blob = await drawn(picture, width, height, quality);
        if (!blob) return null;
        best = { blob, width, height, from_width: picture.width, from_height: picture.height };
        if (!limit_bytes || blob.size <= limit_bytes) return blob.size < file.size || !readable ? best : null;
      }
    }
    return best; // still too big: the server says so
  } finally {
    picture.close();
  }
}

function drawn(picture, width, height, quality) {
  const canvas = document.createElement("canvas");
  canvas.width = width;
  canvas.height = height;
  const pen = canvas.getContext("2d");
  pen.fillStyle = "#fff"; // JPEG knows no transparency
  pen.fillRect(0, 0, width, height);
  pen.imageSmoothingQuality = "high";
  pen.drawImage(picture, 0, 0, width, height);
  return new Promise((resolve) => canvas.toBlob(resolve, "image/jpeg", quality));
}
