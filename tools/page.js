// Guesses, progress and folded code, without a kernel. Nothing leaves the machine: this browser remembers, nobody else.
(() => {
  const all = (selector, root = document) => [...root.querySelectorAll(selector)];
  const deck = document.querySelector(".reveal");
  const store = chooseStore();
  const keyOf = (page, name) => `vgp:${page}:${name}`;

  // The browser's own; where it is refused, and in a deck (the next class guesses anew), one until the page is left.
  function chooseStore() {
    try {
      if (!deck) return localStorage;
    } catch {} // refused
    const kept = new Map();
    const setItem = (key, value) => kept.set(key, value);
    return { getItem: (key) => kept.get(key) ?? null, setItem, removeItem: (key) => kept.delete(key) };
  }

  // What is known of a guess: `guess` (the option), `late` (it came after the answer), `shown` (the answer was seen).
  const recall = (page, name) => JSON.parse(store.getItem(keyOf(page, name))) ?? {};

  // A guess as buttons. Enter presses them in a deck too, where the space bar goes on to the next slide.
  function makeQuestion(box) {
    const name = box.dataset.guess;
    const page = document.querySelector("[data-page]")?.dataset.page ?? "";
    const options = all("button", box);
    const answer = document.querySelector(`[data-answer="${name}"]`);
    const results = all(`[data-result="${name}"]`); // all that would tell the answer, each with its button
    for (const result of results) {
      const ask = document.createElement("button");
      ask.type = "button";
      ask.textContent = "Show the result without a guess";
      ask.onclick = () => {
        change({ shown: true });
        const first = result.firstElementChild;
        if (first.tabIndex < 0) first.tabIndex = -1; // what was no place for the focus becomes one
        first.focus({ preventScroll: true }); // the button is gone: the keyboard goes on from here
      };
      result.before(ask);
    }

    function draw() {
      const { guess, late, shown } = recall(page, name);
      const made = options.some((option) => option.textContent === guess);
      for (const option of options) option.setAttribute("aria-pressed", String(option.textContent === guess));
      box.querySelector("[role=status]").textContent = made ? `Your guess: ${guess}.` : "";
      for (const result of results) {
        const onLaterSlide = deck && result.closest("section") !== box.closest("section");
        result.hidden = !(made || shown || onLaterSlide);
        result.previousElementSibling.hidden = !result.hidden;
      }
      if (!answer) return;
      const verdict = guess === answer.dataset.value ? "right" : "not this time";
      const remark = `Your guess: ${guess}, ${verdict}${late ? " (it came after the answer)" : ""}.`;
      answer.querySelector("[role=status]").textContent = made ? remark : "";
    }

    function change(part) {
      store.setItem(keyOf(page, name), JSON.stringify({ ...recall(page, name), ...part }));
      draw();
      showProgress();
    }

    for (const option of options) {
      option.disabled = false;
      option.onclick = () => change({ guess: option.textContent, late: Boolean(recall(page, name).shown) });
    }
    if (answer) whenSeen(answer, () => recall(page, name).shown || change({ shown: true }));
    draw();
    return draw;
  }

  function whenSeen(element, act) {
    new IntersectionObserver((entries) => entries.some((entry) => entry.isIntersecting) && act()).observe(element);
  }

  // On a notebook's page, and in each card of the index: how many guesses are made, and whether the end was seen.
  function showProgress() {
    let any = false;
    for (const line of all(".tally")) {
      const { page, guesses } = line.dataset;
      const names = JSON.parse(guesses);
      const made = names.filter((name) => recall(page, name).guess).length;
      const ended = store.getItem(keyOf(page, "end")) !== null;
      const begun = made > 0 || ended;
      any ||= begun || names.some((name) => recall(page, name).shown);
      const word = !begun ? "" : made === names.length && ended ? "Done: " : "Started: ";
      line.textContent = `${word}${made} of ${names.length} guesses made${ended ? ", seen to the end" : ""}.`;
      line.hidden = line.matches(".cards *") && !begun;
    }
    for (const button of all(".forget")) button.hidden = !any;
  }

  function reachEnd(page) {
    store.setItem(keyOf(page, "end"), "seen");
    showProgress();
  }

  function forget() {
    for (const { dataset } of all(".tally"))
      for (const name of [...JSON.parse(dataset.guesses), "end"]) store.removeItem(keyOf(dataset.page, name));
    for (const draw of questions) draw();
    showProgress();
    document.getElementById("content").focus();
  }

  // The button of a code box, or key C for the whole slide, shows and hides the code.
  function fold(button, folded = !button.parentElement.matches(".folded")) {
    button.setAttribute("aria-expanded", String(!folded));
    button.parentElement.classList.toggle("folded", folded);
  }

  function foldSlide() {
    const buttons = all(".fold", Reveal.getCurrentSlide());
    const folded = !buttons.some((button) => button.parentElement.matches(".folded"));
    for (const button of buttons) fold(button, folded);
  }

  const questions = all("fieldset[data-guess]").map(makeQuestion);
  for (const button of all(".forget")) button.onclick = forget;
  for (const button of all(".fold")) button.onclick = () => fold(button);
  window.addEventListener("pageshow", showProgress); // also back on an index that the browser has kept
  for (const end of all("[data-end]")) whenSeen(end, () => reachEnd(end.dataset.end));
  if (deck) {
    Reveal.addKeyBinding({ keyCode: 67, key: "C", description: "Show or hide the code" }, foldSlide);
    // The engine would take the arrow keys from a box of code that scrolls.
    const scrolls = ({ key, target }) => /^(Arrow(Up|Down)|Page)/.test(key) && target.matches?.(".code");
    window.addEventListener("keydown", (event) => scrolls(event) && event.stopPropagation(), true);
  }
})();
