// Maps along a component: one at a time, chosen by a slider or played to and fro; still until somebody asks.
(() => {
  for (const film of document.querySelectorAll("[data-film]")) {
    const slider = film.querySelector("input"), button = film.querySelector("button");
    const steps = [...film.querySelectorAll("[data-frame]")];
    let timer = null, by = 1;
    const choose = () => { steps.forEach((step, place) => { step.hidden = place !== Number(slider.value); }); };
    const next = () => {
      const place = Number(slider.value);
      if (place + by < 0 || place + by >= steps.length) by = -by;
      slider.value = place + by;
      choose();
    };
    const stop = () => { clearInterval(timer); timer = null; button.textContent = "Play"; };
    button.addEventListener("click", () => {
      if (timer !== null) return stop();
      timer = setInterval(next, 150);
      button.textContent = "Stop";
    });
    slider.addEventListener("input", () => { if (timer !== null) stop(); choose(); });
    choose();
  }
})();
