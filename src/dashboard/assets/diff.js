// What differs between two texts, line by line: the shortest edit by Myers' method, bounded.

const EDITS_MAX = 4000;

/** `[{ kind: "same" | "added" | "removed", text }]`; null when they have too little in common to tell. */
export function diff(before, after) {
  const [a, b] = [before.split("\n"), after.split("\n")];
  const most = Math.min(a.length + b.length, EDITS_MAX);
  const furthest = new Map([[1, 0]]);
  const trace = [];
  for (let edits = 0; edits <= most; edits += 1) {
    trace.push(new Map(furthest));
    for (let k = -edits; k <= edits; k += 2) {
      const down = k === -edits || (k !== edits && (furthest.get(k - 1) ?? -1) < (furthest.get(k + 1) ?? -1));
      let x = down ? furthest.get(k + 1) : furthest.get(k - 1) + 1;
      let y = x - k;
      while (x < a.length && y < b.length && a[x] === b[y]) [x, y] = [x + 1, y + 1];
      furthest.set(k, x);
      if (x >= a.length && y >= b.length) return back(trace, a, b, edits);
    }
  }
  return null;
}

function back(trace, a, b, edits) {
  const lines = [];
  let [x, y] = [a.length, b.length];
  for (let step = edits; step >= 0; step -= 1) {
    const furthest = trace[step];
    const k = x - y;
    const down = k === -step || (k !== step && (furthest.get(k - 1) ?? -1) < (furthest.get(k + 1) ?? -1));
    const [fromX, fromK] = down ? [furthest.get(k + 1), k + 1] : [furthest.get(k - 1), k - 1];
    const fromY = fromX - fromK;
    while (x > fromX && y > fromY && x > 0 && y > 0) {
      lines.push({ kind: "same", text: a[x - 1] });
      [x, y] = [x - 1, y - 1];
    }
    if (step > 0) lines.push(down ? { kind: "added", text: b[fromY] } : { kind: "removed", text: a[fromX] });
    [x, y] = [fromX, fromY];
  }
  return lines.reverse();
}

/** The same with long stretches of what stays left out. */
export function folded(lines, around = 3) {
  const near = lines.map((_, place) => lines.slice(Math.max(0, place - around), place + around + 1).some((line) => line.kind !== "same"));
  const shown = [];
  let skipped = 0;
  lines.forEach((line, place) => {
    if (near[place]) {
      if (skipped) shown.push({ kind: "skipped", text: `${skipped} lines that stay` });
      skipped = 0;
      shown.push(line);
    } else {
      skipped += 1;
    }
  });
  if (skipped) shown.push({ kind: "skipped", text: `${skipped} lines that stay` });
  return shown;
}
