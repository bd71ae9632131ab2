"use strict";
// Asks for the token, and shows the page that it opens; the token is kept nowhere but in this window.
document.getElementById("door").addEventListener("submit", async (event) => {
  event.preventDefault();
  const input = document.getElementById("token"), wrong = document.getElementById("wrong");
  const reply = await fetch(location.href, { headers: { Authorization: `Bearer ${input.value.trim()}` }, credentials: "same-origin" });
  wrong.hidden = reply.ok;
  if (!reply.ok) { input.select(); return; }
  const text = await reply.text();
  window.danluToken = input.value.trim();
  document.open();
  document.write(text);
  document.close();
});
