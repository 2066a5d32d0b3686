// One message by nodemailer, as a program of somebody else would send it: the options come as JSON on standard input.
import nodemailer from "nodemailer";

const text = await new Response(process.stdin).text();
const { transport, message } = JSON.parse(text);
try {
  const told = await nodemailer.createTransport(transport).sendMail(message);
  console.log(told.response);
} catch (error) {
  console.error(`${error.code} ${error.responseCode ?? ""} ${error.message}`);
  process.exitCode = 1;
}
