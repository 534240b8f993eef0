// HdrHistogram V2, deflated, base64 (<https://github.com/HdrHistogram/HdrHistogram>, read 2026-11-26): what `/histograms` sends.

const COOKIE = 0x1c849303;
const COOKIE_DEFLATED = 0x1c849304;
const KIND_MASK = ~0xf0;

/** `[{ value, count }]`, by value; throws on what is no such histogram. */
export async function decode(base64) {
  const bytes = Uint8Array.from(atob(base64), (char) => char.charCodeAt(0));
  const outer = new DataView(bytes.buffer);
  if ((outer.getInt32(0) & KIND_MASK) !== COOKIE_DEFLATED) throw new Error("The histogram is of another kind.");
  const packed = bytes.subarray(8, 8 + outer.getInt32(4));
  const stream = new Blob([packed]).stream().pipeThrough(new DecompressionStream("deflate"));
  const plain = new Uint8Array(await new Response(stream).arrayBuffer());
  const head = new DataView(plain.buffer);
  if ((head.getInt32(0) & KIND_MASK) !== COOKIE) throw new Error("The histogram is of another kind.");
  const [length, digits, lowest] = [head.getInt32(4), head.getInt32(12), Number(head.getBigInt64(16))];
  return counts(plain.subarray(40, 40 + length), scale(digits, lowest));
}

/** How an index leads to a value. */
function scale(digits, lowest) {
  const magnitude = Math.floor(Math.log2(Math.max(1, lowest)));
  const halfMagnitude = Math.max(1, Math.ceil(Math.log2(2 * 10 ** digits))) - 1;
  const half = 2 ** halfMagnitude;
  return (index) => {
    let bucket = Math.floor(index / half) - 1;
    let inside = (index % half) + half;
    if (bucket < 0) [bucket, inside] = [0, inside - half];
    // The middle of what the place stands for.
    const unit = 2 ** (bucket + magnitude);
    return inside * unit + (unit - 1) / 2;
  };
}

/** ZigZag LEB128, where a negative number is a run of zeros. */
function counts(bytes, valueAt) {
  const found = [];
  let [at, index] = [0, 0];
  while (at < bytes.length) {
    let [number, shift] = [0n, 0n];
    for (let place = 0; place < 9; place += 1) {
      const byte = BigInt(bytes[at]);
      at += 1;
      number |= (place === 8 ? byte : byte & 0x7fn) << shift;
      shift += 7n;
      if (byte < 0x80n) break;
    }
    const count = Number((number >> 1n) ^ -(number & 1n));
    if (count < 0) {
      index -= count;
    } else {
      if (count > 0) found.push({ value: valueAt(index), count });
      index += 1;
    }
  }
  return found;
}

/** Points of the curve `{ x, value }`: `x` is 1/(1-share), so that each nine has the same room. */
export function percentiles(counted) {
  const total = counted.reduce((sum, { count }) => sum + count, 0);
  const points = [];
  let below = 0;
  for (const { value, count } of counted) {
    const share = (below + count / 2) / total;
    points.push({ x: 1 / (1 - Math.min(share, 1 - 0.5 / total)), value });
    below += count;
  }
  if (points.length) points.push({ x: Math.max(total, points.at(-1).x * 1.01, 2), value: points.at(-1).value });
  return points;
}
