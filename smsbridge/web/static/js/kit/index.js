/**
 * The kit: the parts that every page is made of. Import from here: `import { Button } from "../kit/index.js"`.
 *
 * Button({label, icon, kind: "filled"|"tonal"|"text"|"danger", busy, disabled, type, onClick, children})
 * IconButton({icon, label, onClick, pressed, disabled, badge, ...})   label is read aloud and shown as title
 * MenuButton({icon, label, items})   items: [{label, icon, onSelect, danger, disabled, checked, hint}|null]; null separates
 * openMenu(element | {x, y}, items)  the same, from anywhere (context menus)
 * Dialog({title, onClose, children, actions, wide, class})   mount it to open it, unmount it to close it; Esc and the
 *     backdrop call onClose; focus goes to [autofocus] inside and comes back by itself
 * confirm({title, text, action, danger}) -> Promise<boolean>      ask({title, label, value, action, type}) -> Promise<string|null>
 * toast(text, {action, onAction, tone: "info"|"good"|"bad", ms}) -> close function; actions are reached by keyboard (F6)
 * announce(text)                     says it to screen readers only
 * Avatar({name, number, group, small, large})   initials and a color by hash
 * Icon({name, size, label})          names: see icons.js (inline SVG, currentColor)
 * Field({label, hint, error, children(props)|type/value/onInput.., multiline})  label, hint and error wired by aria
 * Switch({label, checked, onChange, hint}), Chip({label, selected, onClick, onRemove, icon}), Tabs({label, tabs: [{id, label, count}], value, onChange})
 * Segmented({label, options: [{value, label, icon}], value, onChange})
 * Empty({icon, title, children})     a page with nothing yet, that says what to do
 * Spinner({label}), Progress({value 0..1 | null, label}), Meter({value, max, label}), Banner({tone, icon, children, actions})
 * Page({title, subtitle, actions, children, back})   header and scrolling body of a page beside the rail (pages/*)
 * useKeys({"/": fn, "mod+k": fn, Escape: fn}, {when})   keys of a page; not while somebody types, unless with mod or Escape
 * useVirtual({count, height_px, ref}) -> {start, end, before_px, after_px}     only the rows that are seen
 * useLoad(async (signal) => ..., [inputs]) -> {data, error, loading, again}   one request of a page
 * format.js: number(e164), name(party), clock(iso), day(iso), ago(iso), when(iso), size(bytes), duration(s), count(n, "text", "texts")
 *
 * Pages: `js/pages/NAME.js` with a default export `function({route})`, loaded when its address is opened
 * (app.js, ROUTES): contacts, calls, lines, operator, settings. `#/lines/LABEL/ussd` gives route.path = ["lines", LABEL, "ussd"].
 * Styles: css/tokens.css has the colors and spaces (--surface, --text, --primary, --space-3 ..); dark comes by itself.
 */
export { Icon, ICONS } from "./icons.js";
export { Button, IconButton, Chip, Segmented, Tabs } from "./button.js";
export { Field, Switch } from "./field.js";
export { MenuButton, MenuHost, openMenu } from "./menu.js";
export { ask, confirm, Dialog, DialogHost } from "./dialog.js";
export { announce, toast, ToastHost } from "./toast.js";
export { Avatar } from "./avatar.js";
export { Banner, Empty, Meter, Page, Progress, Spinner } from "./page.js";
export { keysShown, useKeys } from "./keys.js";
export { useLoad, useVirtual } from "./hooks.js";
export * as format from "./format.js";
