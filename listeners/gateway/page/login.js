// Says that the last try was wrong, and goes back to where the reader wanted to go.
const query = new URLSearchParams(location.search);
if (query.has("wrong")) {
  const wrong = document.getElementById("wrong");
  wrong.hidden = false;
  wrong.textContent = "That name or password is not known here.";
  document.getElementById("password").focus();
}
const next = query.get("next");
if (next) document.getElementById("next").value = next;
