// The page that was asked for stands behind the `#`, which no form sends along by itself.
"use strict";
document.getElementById("form").action = "/login" + location.hash;
const theme = localStorage.getItem("igris-theme");
if (theme) document.documentElement.dataset.theme = theme;
