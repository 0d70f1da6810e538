// Runs before anything is painted, so that a page that was told to be dark is never white.
(() => {
  let chosen = null;
  try { chosen = localStorage.getItem("dsbus.theme"); } catch { /* storage is switched off */ }
  if (chosen === "light" || chosen === "dark") document.documentElement.dataset.theme = chosen;
})();
