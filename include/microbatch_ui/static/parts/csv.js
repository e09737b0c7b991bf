// A table as CSV (RFC 4180): null is nothing between the commas, an empty text is two quotes.
export function csvOf(names, rows) {
  return [names, ...rows].map((row) => `${row.map(field).join(",")}\r\n`).join("");
}

// Hands the browser a file to save.
export function save(name, type, text) {
  const address = URL.createObjectURL(new Blob([text], { type: `${type};charset=utf-8` }));
  const link = document.createElement("a");
  link.href = address;
  link.download = name;
  link.click();
  URL.revokeObjectURL(address);
}

function field(value) {
  if (value === null) {
    return "";
  }
  return value === "" || /[",\r\n]/.test(value) ? `"${value.replaceAll('"', '""')}"` : value;
}
