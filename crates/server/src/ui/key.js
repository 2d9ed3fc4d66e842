// The API key of a server that wants one. It stays in this tab's session storage and goes with every
// request of the pages; it is in no address and no cookie.

const PLACE = "flowmill-api-key";

export const hasKey = () => sessionStorage.getItem(PLACE) !== null;

/** Those headers, and the key where there is one. */
export function withKey(headers = {}) {
  const key = sessionStorage.getItem(PLACE);
  return key === null ? headers : { ...headers, Authorization: `Bearer ${key}` };
}

/** Shows the form `#key-form`; goes on with `next` once a key was entered. */
export function askForKey(next) {
  const form = document.getElementById("key-form");
  const input = form.querySelector("input");
  form.querySelector("[role=alert]").hidden = !hasKey();
  form.hidden = false;
  form.onsubmit = (event) => {
    event.preventDefault();
    const key = input.value.trim();
    input.value = "";
    if (key === "") return;
    sessionStorage.setItem(PLACE, key);
    form.hidden = true;
    next();
  };
  input.focus();
}
