/** Menus: a popover below what was pressed, with arrows, Home, End, first letters and Esc. */
import { html, useEffect, useLayoutEffect, useRef } from "../lib/preact.js";
import { createStore, useStore } from "../state.js";
import { IconButton } from "./button.js";
import { Icon } from "./icons.js";

const open = createStore({ menu: null });

/**
 * Open a menu at an element or a point {x, y}.
 * @param {Element|{x: number, y: number}} at
 * @param {({label: string, onSelect: () => void, icon?: string, danger?: boolean, disabled?: boolean, checked?: boolean, hint?: string}|null)[]} items
 */
export function openMenu(at, items) {
  open.set({ menu: { at, items, opener: document.activeElement } });
}

/** A round button that opens a menu; `items` may be a function, asked when it opens. */
export function MenuButton({ icon = "more", label, items, ...rest }) {
  return html`<${IconButton} ...${rest} icon=${icon} label=${label} aria-haspopup="menu"
    onClick=${(event) => { event.stopPropagation(); event.preventDefault(); openMenu(event.currentTarget, typeof items === "function" ? items() : items); }} />`;
}

/** Shows the open menu; mounted once by the app. */
export function MenuHost() {
  const menu = useStore(open, (value) => value.menu);
  return menu && html`<${Menu} key=${menu} menu=${menu} />`;
}

function Menu({ menu }) {
  const box = useRef(null);
  const close = (give_back) => {
    if (open.get().menu === menu) open.set({ menu: null });
    if (give_back && menu.opener?.isConnected) menu.opener.focus({ preventScroll: true });
  };
  useLayoutEffect(() => {
    const element = box.current;
    // In the top layer, so that a menu of a dialog stands above it and nothing cuts it off.
    element.showPopover?.();
    const from = menu.at instanceof Element ? menu.at.getBoundingClientRect() : { left: menu.at.x, right: menu.at.x, top: menu.at.y, bottom: menu.at.y };
    const { width, height } = element.getBoundingClientRect();
    const room_x = document.documentElement.clientWidth;
    const left = from.left + width + 8 <= room_x ? from.left : from.right - width;
    const top = from.bottom + height + 12 <= innerHeight ? from.bottom + 4 : from.top - height - 4;
    element.style.left = Math.max(8, Math.min(left, room_x - width - 8)) + "px";
    element.style.top = Math.max(8, Math.min(top, innerHeight - height - 8)) + "px";
    element.querySelector("[role^=menuitem]:not([aria-disabled=true])")?.focus({ preventScroll: true });
  }, [menu]);
  useEffect(() => {
    const outside = (event) => !box.current?.contains(event.target) && close(false);
    const gone = () => close(false);
    addEventListener("pointerdown", outside, true);
    addEventListener("resize", gone);
    addEventListener("hashchange", gone);
    return () => {
      removeEventListener("pointerdown", outside, true);
      removeEventListener("resize", gone);
      removeEventListener("hashchange", gone);
    };
  }, [menu]);
  const onKeyDown = (event) => {
    const entries = [...box.current.querySelectorAll("[role^=menuitem]")];
    const at = entries.indexOf(document.activeElement);
    let to = { ArrowDown: at + 1, ArrowUp: at - 1, Home: 0, End: entries.length - 1 }[event.key];
    if (event.key === "Escape" || event.key === "Tab") close(true);
    else if (to === undefined && event.key.length === 1 && event.key !== " ") {
      const after = [...entries.slice(at + 1), ...entries.slice(0, at + 1)];
      to = entries.indexOf(after.find((entry) => entry.textContent.trim().toLowerCase().startsWith(event.key.toLowerCase())));
    } else if (to === undefined) return;
    event.preventDefault();
    event.stopPropagation();
    if (to !== undefined) entries[(to + entries.length) % entries.length]?.focus();
  };
  return html`<div ref=${box} class="menu" role="menu" popover="manual" tabindex="-1" onKeyDown=${onKeyDown}>
    ${menu.items.map((item, at) => item === null
      ? html`<hr key=${at} class="menu-line" />`
      : html`<button key=${at} type="button" class=${"menu-item " + (item.danger ? "menu-danger" : "")} tabindex="-1"
          role=${item.checked === undefined ? "menuitem" : "menuitemradio"} aria-checked=${item.checked === undefined ? null : String(item.checked)}
          aria-disabled=${item.disabled ? "true" : null}
          onClick=${() => { if (item.disabled) return; close(true); item.onSelect(); }}>
          ${item.icon ? html`<${Icon} name=${item.icon} size=${20} />` : item.checked !== undefined && html`<span class="menu-check">${item.checked && html`<${Icon} name="check" size=${20} />`}</span>`}
          <span class="menu-label">${item.label}${item.hint && html`<span class="menu-hint">${item.hint}</span>`}</span>
        </button>`)}
  </div>`;
}
