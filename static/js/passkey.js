/* Ask the browser for a passkey, or to make one, and send the form of the button with what it says. */
const { parseCreationOptionsFromJSON: creation, parseRequestOptionsFromJSON: request } = window.PublicKeyCredential ?? {};

export async function ask(button) {
  const form = button.form;
  const said = form.querySelector("[data-said]");
  try {
    if (!request) throw new Error("Passkeys need https and a newer browser.");
    const { passkey, from } = button.dataset;
    const { request_options: asked, creation_options: made } = JSON.parse(passkey || await (await fetch(from, { headers: { Accept: "application/json" } })).text());
    const found = made ? await navigator.credentials.create(wanted(made.publicKey, form.elements.passwordless?.checked)) : await navigator.credentials.get({ publicKey: request.call(PublicKeyCredential, asked.publicKey) });
    form.elements.credential.value = JSON.stringify(found.toJSON());
    form.requestSubmit();
  } catch (problem) {
    said.textContent = problem.name === "NotAllowedError" ? "No passkey was given. Try again." : problem.message;
  }
}

/* A key that opens the account alone is kept with whose it is, and asks for PIN, finger or face. */
function wanted(options, alone) {
  const selection = { ...options.authenticatorSelection, residentKey: alone ? "required" : "discouraged", requireResidentKey: Boolean(alone) };
  if (alone) selection.userVerification = "required";
  return { publicKey: creation.call(PublicKeyCredential, { ...options, authenticatorSelection: selection }) };
}

document.addEventListener("click", (event) => {
  const button = event.target.closest("[data-passkey]");
  if (button) ask(button);
});
