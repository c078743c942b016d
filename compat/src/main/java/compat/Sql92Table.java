package compat;

import java.io.PrintStream;
import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.LinkedHashSet;
import java.util.List;
import java.util.Map;
import java.util.Random;
import java.util.Set;
import org.apache.rocketmq.broker.filter.MessageEvaluationContext;
import org.apache.rocketmq.filter.FilterFactory;
import org.apache.rocketmq.filter.expression.Expression;

/**
 * What Apache's SQL92 filter makes of some thousand expressions, most of them at random but always the same.
 *
 *   java -cp CLASSPATH compat.Sql92Table > crates/broker/src/filter/sql92/golden.txt
 *
 * First the properties of messages, one message a line, as a JSON object. Then the expressions, each a JSON array: the expression, and its value
 * for each of these messages, a letter each: T true, F false, N null, X an exception. "!" instead: it does not compile.
 */
public final class Sql92Table {
    private static final int MESSAGES = 24;
    private static final int RANDOM_EXPRESSIONS = 2600;

    private static final String[] NAMES = {"a", "b", "c", "d", "TAGS"};
    private static final String[] VALUES = {
        "5", "-5", "0", "1", "7", "+5", "05", "abc", "it's", "a b", "true", "TRUE", "false", "1.5", "5.0", "1e3", ".5", "5.", "-0.0", " 7 ",
        "3000000000", "-3000000000", "9223372036854775807", "99999999999999999999", "NaN", "-Infinity", "1.5f", "2d", "5l", "e5", "-", ".",
        "1..2", "inf", "\u00e9\u4e16", "TagA",
    };
    private static final String[] LITERALS = {
        "5", "0", "1", "7", "007", "5l", "5L", "0l", "2147483647", "2147483648", "3000000000", "9223372036854775807", "9223372036854775808",
        "1.5", "5.0", "0.0", ".5", "5.", "1e3", "1E-3", "5e", "1.5e400", "1e-400", "1.5.5", "1.5d", "'5'", "'abc'", "''", "'it''s'", "'true'",
        "'a b'", "'TagA'", "'\u00e9\u4e16'", "TRUE", "false", "NULL", "True",
    };
    private static final String[] TEXTS = {"'abc'", "'5'", "'b'", "''", "'it''s'", "'TagA'", "'\u4e16'", "'true'", "'a'", "'x'", "'y'", "'z'"};
    private static final String[] WORDS = {
        "NOT", "AND", "OR", "BETWEEN", "IN", "IS", "NULL", "CONTAINS", "STARTSWITH", "ENDSWITH", "(", ")", ",", "=", "<>", ">", ">=", "<", "<=",
        "+", "-", "--", "/*", "*/", "'", "!", "\n", "a", "5", "'x'", "#", "\u00e9", "1.5", "TRUE",
    };

    private static final String[] CHOSEN = {
        "", " ", "a", "5", "'a'", "TRUE", "FALSE", "NULL", "-a", "+a", "NOT a", "NOT NOT a", "NOT TRUE", "NOT NULL", "(a)", "((a))", "(a", "a)",
        "a = 5", "5 = a", "a <> 5", "a != 5", "a == 5", "a = 'abc'", "'abc' = a", "a=5 b", "a = 5 #", "a = 5 b #", "a # = 5", "a = 5)",
        "a = 5 -- done", "a = 5 -- done\nAND b = 7", "a = 5 /* no */ AND b = 7", "a = 5 /* no", "a /**/ = /***/ 5", "a = /* * / **/ 5",
        "a = --5", "a = - -5", "a = -5", "a = +5", "a = + -5", "a = -(5)", "a = -'5'", "a = -b", "-a = 5", "a > -b", "- a > 5", "-(a = 5)",
        "-(a = 5) IS NULL", "a > (5)", "a > (5 = 5)", "(a = 5) > 5", "(a = 5) = TRUE", "TRUE = (a = 5)", "(a = 5) = (b = 7)", "(a = 5) = b",
        "b = (a = 5)", "a = b", "a <> b", "a = b = c", "a = TRUE", "TRUE = a", "TRUE = 5", "5 = TRUE", "TRUE = TRUE", "TRUE = FALSE", "'x' = TRUE",
        "TRUE = 'x'", "a = NULL", "NULL = a", "a <> NULL", "NULL = NULL", "a > NULL", "a > TRUE", "a > 'x'", "'x' < a", "a > b", "a >= b", "a < b",
        "a <= b", "5 > a", "a > 5 > 1", "a IS NULL", "a IS NOT NULL", "a IS NULL IS NULL", "a IS NOT", "a IS", "a IS b", "5 IS NULL", "NULL IS NULL",
        "NULL IS NOT NULL", "TRUE IS NULL", "(a = 5) IS NULL", "NOT a IS NULL", "NOT (a IS NULL)", "a IS NULL > 5", "a IS NULL CONTAINS 'x'",
        "a IN ('5')", "a NOT IN ('5')", "a IN ()", "a IN ('5',)", "a IN (5)", "a IN ('5', 'abc', 'x', 'y', 'z', 'TagA')", "5 IN ('5')",
        "(a) IN ('5')", "+a IN ('5')", "-a IN ('5')", "NOT a IN ('5')", "NOT (a IN ('5'))", "a IN '5'", "a IN ('5'", "a IN ('5' '7')", "a NOT 5",
        "a NOT", "a BETWEEN 1 AND 5", "a BETWEEN 5 AND 2", "a BETWEEN 5 AND 5", "a NOT BETWEEN 5 AND 2", "a NOT BETWEEN 1 AND 5",
        "a BETWEEN -1 AND 5", "a BETWEEN 5 AND -1", "a BETWEEN 1 AND 5.5", "a BETWEEN 1.5 AND 1", "a BETWEEN 'a' AND 'b'", "a BETWEEN 1 AND '5'",
        "a BETWEEN NULL AND 5", "a BETWEEN b AND c", "a NOT BETWEEN b AND c", "5 BETWEEN a AND b", "a BETWEEN 1 AND 5 AND b = 7",
        "(a = 5) BETWEEN 1 AND 5", "a BETWEEN (1) AND (5)", "a BETWEEN 1 AND", "a BETWEEN 1 5", "a BETWEEN 1", "a BETWEEN TRUE AND FALSE",
        "a CONTAINS 'b'", "a NOT CONTAINS 'b'", "a STARTSWITH 'a'", "a NOT STARTSWITH 'a'", "a ENDSWITH 'c'", "a NOT ENDSWITH 'c'",
        "a CONTAINS ''", "a NOT CONTAINS ''", "a CONTAINS 5", "a CONTAINS b", "'abc' CONTAINS 'b'", "5 CONTAINS '5'", "5 NOT CONTAINS '5'",
        "TRUE CONTAINS 'x'", "a CONTAINS 'b' CONTAINS 'c'", "(a = 5) NOT CONTAINS 'c'", "NULL CONTAINS 'c'", "NULL NOT CONTAINS 'c'",
        "NOT a CONTAINS 'b'", "NOT (a CONTAINS 'b')", "contains CONTAINS 'b'", "CONTAINS = 5", "containsx = 5", "a contains 'b'", "a cOnTaInS 'b'",
        "a = 5 OR b = 7 AND c = 5", "(a = 5 OR b = 7) AND c = 5", "a OR b", "a AND b", "a AND TRUE", "a OR TRUE", "NULL OR TRUE", "NULL AND FALSE",
        "NULL OR FALSE", "NULL AND TRUE", "5 OR TRUE", "TRUE OR 5", "'x' AND TRUE", "-a OR TRUE", "TRUE OR -a", "TRUE OR", "OR TRUE", "TRUE TRUE",
        "TRUE AND AND TRUE", "NOT", "()", "(", ")", "''", "'", "'x", "a = 'x''", "a = 'x''y", "a = 'x''y'", "a = ''''", "a = 'x' 'y'", "a = '\n'",
        "a = \"x\"", "a = 0", "a = 00", "a = 007", "a = 0.0", "a = 0.00001", "a = 0e5", "a = .", "a = 5.e3", "a = 5.5e+2", "a = 5.5e-", "a = 1e309",
        "a = 9223372036854775807", "a = 9223372036854775808", "a = -9223372036854775808", "a = 2147483648", "a = -2147483648", "a > 2147483647",
        "a = 5l", "a = 5L", "a = 5ll", "a = 0x10", "$a = 5 OR a = 5", "_a = 5", "a$ = 5", "a.b = 5", "a-b = 5", "a+b = 5", "a * 2 = 5", "a % 2 = 1",
        "a LIKE 'x'", "NOT a = 5", "NOT (a = 5)", "NOT a > 5", "NOT (a > 5)", "a = 5 = TRUE", "a = 5 <> FALSE", "a > 1 AND b", "a AND b > 1",
        "TAGS = 'TagA'", "tags = 'TagA'", "TAGS IN ('TagA', 'TagB') AND a BETWEEN 0 AND 7", "\ta\r\n=\f5\t", "a\u00a0= 5", "a = \u0660",
        "+ + - + a = 5", "+(a = 5)", "+TRUE", "-TRUE", "-TRUE IS NULL", "-5 = -5", "-5.5 < -5", "- 'x' IS NULL", "1 < 1.5", "1.5 < 1", "1 = 1.0",
        "3000000000 > 1", "1 < 3000000000", "3000000000 > 1.5", "1.5 < 3000000000", "3000000000 = 3000000000", "'5' = 5", "5 = '5'", "5 = 'x'",
        "5.5 = '5.5'", "3000000000 = '3000000000'", "3000000000 = 'x'", "'5' = '5'", "'5' = '6'", "(a IS NULL) = (b IS NULL)", "(-a) IS NULL",
        "a IS NULL OR a > 5", "a > 5 OR a IS NULL", "a > 5 OR TRUE", "TRUE OR a > 5", "FALSE AND a > 5", "a > 5 AND FALSE",
    };

    private final Random random = new Random(92);

    private Sql92Table() {
    }

    public static void main(String[] args) {
        new Sql92Table().print(new PrintStream(System.out, false, StandardCharsets.UTF_8));
    }

    private void print(PrintStream out) {
        List<Map<String, String>> messages = new ArrayList<>();
        messages.add(Map.of());
        for (String value : List.of("5", "abc", "true")) {
            messages.add(Map.of("a", value, "b", "7"));
        }
        while (messages.size() < MESSAGES) {
            Map<String, String> message = new LinkedHashMap<>();
            for (String name : NAMES) {
                if (random.nextInt(4) > 0) {
                    message.put(name, any(VALUES));
                }
            }
            messages.add(message);
        }
        for (Map<String, String> message : messages) {
            List<String> pairs = new ArrayList<>();
            message.forEach((name, value) -> pairs.add(quoted(name) + ":" + quoted(value)));
            pairs.sort(null);
            out.print("{" + String.join(",", pairs) + "}\n");
        }
        Set<String> expressions = new LinkedHashSet<>(List.of(CHOSEN));
        for (String literal : LITERALS) {
            for (String operator : List.of("=", "<>", ">", "<=")) {
                expressions.add("a " + operator + " " + literal);
                expressions.add(literal + " " + operator + " b");
            }
        }
        for (int i = 0; i < RANDOM_EXPRESSIONS; i++) {
            String expression = condition(3);
            if (random.nextInt(3) == 0) {
                expression = spoiled(expression);
            }
            expressions.add(expression);
        }
        for (String expression : expressions) {
            out.print("[" + quoted(expression) + "," + quoted(values(expression, messages)) + "]\n");
        }
        out.flush();
    }

    private static String values(String expression, List<Map<String, String>> messages) {
        Expression compiled;
        try {
            compiled = FilterFactory.INSTANCE.get("SQL92").compile(expression);
        } catch (Exception e) {
            return "!";
        }
        StringBuilder values = new StringBuilder();
        for (Map<String, String> message : messages) {
            try {
                Object value = compiled.evaluate(new MessageEvaluationContext(message));
                values.append(value == null ? 'N' : (Boolean) value ? 'T' : 'F');
            } catch (Exception e) {
                values.append('X');
            }
        }
        return values.toString();
    }

    private String condition(int depth) {
        switch (random.nextInt(depth > 0 ? 16 : 9)) {
            case 0:
                return operand() + any(" = ", " <> ", "=", "<>") + operand();
            case 1:
                return any("a", "b", "c", "d") + any(" = ", " <> ", " > ", " >= ", " < ", " <= ", ">", "<") + any("5", "7", "1.5", "0", "b", "-5");
            case 2:
                return operand() + any(" > ", " >= ", " < ", " <= ") + operand();
            case 3:
                return operand() + any(" BETWEEN ", " NOT BETWEEN ") + operand() + " AND " + operand();
            case 4:
                return any("a", "b", "missing", "TAGS") + any(" BETWEEN ", " NOT BETWEEN ") + any("-5", "0", "1", "1.5") + " AND " + any("5", "7", "5.5", "c");
            case 5:
                return any("a", "b", "c", "TAGS", "(a)", "5") + any(" IN (", " NOT IN (", " in(") + texts() + ")";
            case 6:
                return operand() + any(" IS NULL", " IS NOT NULL", " is null");
            case 7:
                return operand() + any(" CONTAINS ", " NOT CONTAINS ", " STARTSWITH ", " NOT STARTSWITH ", " ENDSWITH ", " NOT ENDSWITH ") + any(TEXTS);
            case 8:
                return operand();
            case 9:
            case 10:
                return condition(depth - 1) + any(" AND ", " and ", "\nAND ") + condition(depth - 1);
            case 11:
            case 12:
                return condition(depth - 1) + any(" OR ", " or ") + condition(depth - 1);
            case 13:
                return "NOT " + condition(depth - 1);
            case 14:
                return "NOT (" + condition(depth - 1) + ")";
            default:
                return "(" + condition(depth - 1) + ")";
        }
    }

    private String operand() {
        switch (random.nextInt(8)) {
            case 0:
                return any(LITERALS);
            case 1:
                return any("-", "+", "- ", "-(") .replace("-(", "- -") + any("a", "b", "5", "1.5");
            case 2:
                return "(" + condition(0) + ")";
            case 3:
                return any("5", "7", "'abc'", "'5'", "1.5");
            default:
                return any("a", "b", "c", "d", "missing", "TAGS");
        }
    }

    private String texts() {
        StringBuilder texts = new StringBuilder(any(TEXTS));
        for (int i = random.nextInt(7); i > 0; i--) {
            texts.append(any(",", ", ")).append(any(TEXTS));
        }
        return texts.toString();
    }

    private String spoiled(String expression) {
        List<String> words = new ArrayList<>(List.of(expression.split(" ")));
        int at = random.nextInt(words.size());
        switch (random.nextInt(4)) {
            case 0:
                words.remove(at);
                break;
            case 1:
                words.set(at, any(WORDS));
                break;
            case 2:
                words.add(at, any(WORDS));
                break;
            default:
                words.add(any(WORDS));
        }
        return String.join(" ", words);
    }

    private String any(String... of) {
        return of[random.nextInt(of.length)];
    }

    private static String quoted(String text) {
        StringBuilder out = new StringBuilder("\"");
        for (char c : text.toCharArray()) {
            if (c == '"' || c == '\\') {
                out.append('\\').append(c);
            } else if (c < ' ' || c > '~') {
                out.append(String.format("\\u%04x", (int) c));
            } else {
                out.append(c);
            }
        }
        return out.append('"').toString();
    }
}
