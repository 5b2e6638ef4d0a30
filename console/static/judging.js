// What an operator says of an alert: three buttons, and in the dialog a note.
import { el, postJson } from "/static/http.js";
import { t } from "/static/i18n.js";

export const VERDICTS = ["true", "false", "ignore"];

// `done(judgement)` is called once the server has it. With `note` there is a field for one.
export function judgeBar(alert, done, note = false) {
  const said = el("span", { class: "muted", role: "status" });
  const field = note ? el("input", { maxlength: 200, placeholder: t("judgeNote"), "aria-label": t("judgeNote"), value: alert.judged_note ?? "" }) : null;
  const buttons = VERDICTS.map((verdict) => el("button", {
    type: "button", class: `verdict ${verdict}`, "data-verdict": verdict, "aria-pressed": String(alert.verdict === verdict),
    title: t(`judge.${verdict}.why`),
    onclick: async () => {
      for (const button of buttons) button.disabled = true;
      try {
        const body = field?.value ? { verdict, note: field.value } : { verdict };
        done(await (await postJson(`/api/alerts/${alert.id}/judgement`, body)).json());
        said.textContent = "";
        for (const button of buttons) button.setAttribute("aria-pressed", String(button.dataset.verdict === verdict));
      } catch (error) {
        said.textContent = t("judgeFailed", { why: error.message });
      }
      for (const button of buttons) button.disabled = false;
    },
  }, t(`judge.${verdict}`)));
  return el("div", { class: "judge", role: "group", "aria-label": t("judgeTitle") }, ...buttons, field, said);
}
