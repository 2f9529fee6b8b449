// What the inbox uses of Preact 11.2.0 (MIT) and htm 3.1.1 (Apache-2.0), from one
// place. Written by scripts/vendor-javascript; the libraries stand beside it.
import { h } from "./preact-core.js";
import htm from "./htm.js";

export {
  Component,
  Fragment,
  cloneElement,
  createContext,
  createPortal,
  createRef,
  h,
  isValidElement,
  options,
  render,
  toChildArray,
} from "./preact-core.js";
export {
  useCallback,
  useContext,
  useEffect,
  useErrorBoundary,
  useId,
  useImperativeHandle,
  useLayoutEffect,
  useMemo,
  useReducer,
  useRef,
  useState,
} from "./preact-hooks.js";

/** Build elements from a template: html`<p class=${name}>${text}</p>`. */
export const html = htm.bind(h);
