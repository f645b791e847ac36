// One iteration at a time: its slices and words, its FSC among the others, its row of the table.
(() => {
  const slider = document.getElementById("iteration-chosen");
  const of = (curve) => curve.querySelector("path");
  const curves = [...document.querySelectorAll('[id^="fsc-of-"]')];
  const plain = new Map(curves.map((curve) => [curve, of(curve).getAttribute("style")]));
  const choose = () => {
    for (const step of document.querySelectorAll("[data-step]")) step.hidden = step.dataset.step !== slider.value;
    const table = slider.closest("section").querySelectorAll("details table tbody tr");
    table.forEach((row, place) => row.classList.toggle("chosen", place + 1 === Number(slider.value)));
    for (const curve of curves) {
      of(curve).setAttribute("style", plain.get(curve));
      if (curve.id !== `fsc-of-${slider.value}`) continue;
      Object.assign(of(curve).style, { stroke: "var(--series2)", strokeWidth: "2.6", strokeOpacity: "1" });
      curve.parentNode.appendChild(curve);
    }
  };
  slider.addEventListener("input", choose);
  choose();
})();
