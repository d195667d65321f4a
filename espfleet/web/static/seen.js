// A browser opens six connections to a server, for all its tabs together, and each tab that looks on holds one or two.
// So one that nobody looks at gives them back.

const REST_MS = 10000;

// Opens something while the tab is seen, and closes it a while after it is not: `open` returns how to close it.
// Returns how to close it for good.
export function whileSeen(open) {
  let close = open();
  let resting = 0;
  const turn = () => {
    clearTimeout(resting);
    if (!document.hidden) { if (!close) close = open(); return; }
    resting = setTimeout(() => { close?.(); close = null; }, REST_MS);
  };
  document.addEventListener("visibilitychange", turn);
  turn();
  return () => {
    document.removeEventListener("visibilitychange", turn);
    clearTimeout(resting);
    close?.();
    close = null;
  };
}
