/**
 * How many texts a text is on the phone network, counted as smsbridge/core/segments.py does: GSM
 * alphabet (3GPP TS 23.038, 6.2.1) 160 or 153 septets, UCS-2 70 or 67 units (TS 23.040, 9.2.3.24.1);
 * a character that takes two places is never cut.
 */
const BASIC = "@£$¥èéùìòÇ\nØø\rÅåΔ_ΦΓΛΩΠΨΣΘΞÆæßÉ !\"#¤%&'()*+,-./0123456789:;<=>?¡ABCDEFGHIJKLMNOPQRSTUVWXYZÄÖÑÜ§¿abcdefghijklmnopqrstuvwxyzäöñüà";
const EXTENSION = "\f^{}\\[~]|€";
const GSM = new Set(BASIC + EXTENSION);
const EXTENDED = new Set(EXTENSION);

/**
 * Measure a text.
 * @param {string} text
 * @param {string} [charset] "gsm", or "ascii" for devices that use the GSM alphabet for ASCII alone
 * @returns {{encoding: "gsm"|"unicode", units: number, segments: number, left: number, first_outside: string}}
 *   `first_outside` is the first character that makes it Unicode
 */
export function count(text, charset = "gsm") {
  const letters = [...text];
  const outside = letters.find((letter) => (charset === "ascii" ? letter > "\x7f" : !GSM.has(letter))) ?? "";
  const gsm = outside === "";
  const [single, joined] = gsm ? [160, 153] : [70, 67];
  const size = (letter) => (gsm ? (EXTENDED.has(letter) ? 2 : 1) : letter.length);
  let units = 0;
  for (const letter of letters) units += size(letter);
  const encoding = gsm ? "gsm" : "unicode";
  if (units <= single) return { encoding, units, segments: 1, left: single - units, first_outside: outside };
  let [segments, used] = [1, 0];
  for (const letter of letters) {
    const places = size(letter);
    if (used + places > joined) {
      segments += 1;
      used = 0;
    }
    used += places;
  }
  return { encoding, units, segments, left: joined - used, first_outside: outside };
}
