// Shows the document beside this page. Everything comes from this server; nothing is validated elsewhere.
SwaggerUIBundle({
  url: "openapi.json",
  dom_id: "#docs",
  deepLinking: true,
  validatorUrl: null,
  tryItOutEnabled: true,
  defaultModelsExpandDepth: 0,
  onComplete: () => {
    const title = document.querySelector("#docs .title");
    if (title) document.title = `${title.firstChild.textContent} · API docs`;
  },
});
