// Sets the theme that was chosen before the first pixel is painted; a classic script, so that it
// runs before the style sheets. "auto" follows the system and sets nothing.
(function () {
  try {
    var theme = localStorage.getItem("smsbridge.theme");
    if (theme === "light" || theme === "dark") document.documentElement.dataset.theme = theme;
  } catch (error) {
    // A browser that forbids storage shows the system's theme.
  }
})();
