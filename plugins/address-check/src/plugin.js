// Looks at addresses. The forms of postal codes by country; where a country has none here, any will do.
const CODES = {
  AT: /^\d{4}$/, AU: /^\d{4}$/, BE: /^\d{4}$/, CA: /^[A-Z]\d[A-Z] ?\d[A-Z]\d$/i, CH: /^\d{4}$/, CN: /^\d{6}$/,
  DE: /^\d{5}$/, DK: /^\d{4}$/, ES: /^\d{5}$/, FR: /^\d{5}$/, GB: /^[A-Z]{1,2}\d[A-Z\d]? ?\d[A-Z]{2}$/i,
  IT: /^\d{5}$/, JP: /^\d{3}-?\d{4}$/, NL: /^\d{4} ?[A-Z]{2}$/i, PL: /^\d{2}-\d{3}$/, SE: /^\d{3} ?\d{2}$/,
  US: /^\d{5}(-\d{4})?$/,
};

const text = (value) => (typeof value === "string" ? value.trim() : "");

function check(address) {
  const problems = [];
  const [street, city, zip] = [text(address.address1), text(address.city), text(address.zip)];
  const country = text(address.country).toUpperCase();
  if (!street) problems.push("The street is missing.");
  if (!city) problems.push("The town is missing.");
  if (!country) problems.push("The country is missing.");
  const code = CODES[country];
  if (code && !zip) problems.push("The postal code is missing.");
  else if (code && !code.test(zip)) problems.push(`${zip} is not a postal code of ${country}.`);
  if (street && !/\d/.test(street) && !/\d/.test(text(address.address2))) problems.push("The street has no number.");
  return { ok: problems.length === 0, problems };
}

export const capabilities = {
  answer(name, input) {
    if (name !== "address.check") throw { tag: "invalid", val: `there is no ${name} here` };
    const { address } = JSON.parse(input);
    if (address === null || typeof address !== "object") throw { tag: "invalid", val: "`address` is no address" };
    return JSON.stringify(check(address));
  },
};
