// Shows the document beside this page. Everything comes from this server; nothing is validated elsewhere.
import { askForKey, withKey } from "./key.js";

open();

async function open() {
  const { status } = await fetch("openapi.json", { headers: withKey() });
  if (status === 401) { askForKey(open); return; }
  SwaggerUIBundle({
    url: "openapi.json",
    dom_id: "#docs",
    deepLinking: true,
    validatorUrl: null,
    tryItOutEnabled: true,
    defaultModelsExpandDepth: 0,
    // The curl commands that it shows are made before this: a key would stand in them for all to read.
    showMutatedRequest: false,
    requestInterceptor: (request) => Object.assign(request, { headers: withKey(request.headers) }),
    onComplete: () => {
      const title = document.querySelector("#docs .title");
      if (title) document.title = `${title.firstChild.textContent} · API docs`;
    },
  });
}
