// What GoogleSQL, with BigQuery's features and functions, says of statements about tables.
// Reads from standard input {"tables": [{"name", "columns": [{"name", "type"}]}], "statements": [{"name", "sql"}]}; writes
// [{"name", "columns": [{"name", "type"}]}] or, of a statement that is wrong, [{"name", "error", "line", "column"}].

import com.google.gson.Gson;
import com.google.gson.JsonArray;
import com.google.gson.JsonElement;
import com.google.gson.JsonObject;
import com.google.gson.JsonParser;
import com.google.zetasql.Analyzer;
import com.google.zetasql.AnalyzerOptions;
import com.google.zetasql.Function;
import com.google.zetasql.FunctionArgumentType;
import com.google.zetasql.FunctionSignature;
import com.google.zetasql.LanguageOptions;
import com.google.zetasql.ParseResumeLocation;
import com.google.zetasql.SimpleCatalog;
import com.google.zetasql.SimpleTable;
import com.google.zetasql.SqlException;
import com.google.zetasql.Type;
import com.google.zetasql.ZetaSQLFunctions.FunctionEnums.Mode;
import com.google.zetasql.ZetaSQLFunctions.SignatureArgumentKind;
import com.google.zetasql.ZetaSQLOptions.ErrorMessageMode;
import com.google.zetasql.ZetaSQLOptions.LanguageFeature;
import com.google.zetasql.ZetaSQLOptions.ProductMode;
import com.google.zetasql.resolvedast.ResolvedNodes.ResolvedCreateTableAsSelectStmt;
import com.google.zetasql.resolvedast.ResolvedNodes.ResolvedCreateViewBase;
import com.google.zetasql.resolvedast.ResolvedNodes.ResolvedOutputColumn;
import com.google.zetasql.resolvedast.ResolvedNodes.ResolvedQueryStmt;
import com.google.zetasql.resolvedast.ResolvedNodes.ResolvedStatement;
import com.google.zetasql.toolkit.AnalysisException;
import com.google.zetasql.toolkit.ZetaSQLToolkitAnalyzer;
import com.google.zetasql.toolkit.catalog.bigquery.BigQueryCatalog;
import com.google.zetasql.toolkit.catalog.io.CatalogResources;
import com.google.zetasql.toolkit.options.BigQueryLanguageOptions;
import java.io.InputStreamReader;
import java.io.PrintStream;
import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.List;
import java.util.regex.Matcher;
import java.util.regex.Pattern;

public final class Analyze {
  /** `T1 F(T1, T2)`. */
  private static final FunctionSignature OF_FIRST_BY_SECOND = new FunctionSignature(
      new FunctionArgumentType(SignatureArgumentKind.ARG_TYPE_ANY_1),
      List.of(
          new FunctionArgumentType(SignatureArgumentKind.ARG_TYPE_ANY_1),
          new FunctionArgumentType(SignatureArgumentKind.ARG_TYPE_ANY_2)),
      -1);

  private static final Pattern PLACE = Pattern.compile("\\s*\\[at (\\d+):(\\d+)\\]\\s*$");

  /** What BigQuery has learnt since the toolkit was made. */
  private static final List<LanguageFeature> SINCE = List.of(
      LanguageFeature.FEATURE_PIPES,
      LanguageFeature.FEATURE_JSON_CONSTRUCTOR_FUNCTIONS,
      LanguageFeature.FEATURE_JSON_KEYS_FUNCTION,
      LanguageFeature.FEATURE_JSON_LAX_VALUE_EXTRACTION_FUNCTIONS,
      LanguageFeature.FEATURE_JSON_MUTATOR_FUNCTIONS);

  /** The project of names that begin with a dataset. */
  private static final String PROJECT = "caudal-tests";

  public static void main(String[] arguments) throws Exception {
    JsonObject given = JsonParser.parseReader(new InputStreamReader(System.in, StandardCharsets.UTF_8)).getAsJsonObject();
    PrintStream answers = new PrintStream(System.out, true, "UTF-8");
    System.setOut(System.err);

    LanguageOptions language = BigQueryLanguageOptions.get();
    SINCE.forEach(language::enableLanguageFeature);
    AnalyzerOptions options = new AnalyzerOptions();
    options.setLanguageOptions(language);
    options.setAllowUndeclaredParameters(true);
    options.setErrorMessageMode(ErrorMessageMode.ERROR_MESSAGE_ONE_LINE);

    JsonObject tables = new JsonObject();
    tables.add("tables", given.getAsJsonArray("tables"));
    List<String> names = new ArrayList<>();
    for (JsonElement table : given.getAsJsonArray("tables")) {
      names.add(table.getAsJsonObject().get("name").getAsString());
    }
    BigQueryCatalog catalog = BigQueryCatalog.usingResources(PROJECT, CatalogResources.fromJson(new Gson().toJson(tables)));
    catalog.addTables(names);
    for (String name : names) {
      addByPath(catalog.getZetaSQLCatalog(), name);
    }
    for (String name : List.of("MAX_BY", "MIN_BY")) {
      catalog.getZetaSQLCatalog().addFunction(new Function(name, "BigQuery", Mode.AGGREGATE, List.of(OF_FIRST_BY_SECOND)));
    }

    JsonArray said = new JsonArray();
    for (JsonElement statement : given.getAsJsonArray("statements")) {
      JsonObject answer = new JsonObject();
      answer.add("name", statement.getAsJsonObject().get("name"));
      try {
        ResolvedStatement last = null;
        var found = new ZetaSQLToolkitAnalyzer(options)
            .analyzeStatements(statement.getAsJsonObject().get("sql").getAsString(), catalog.copy());
        while (found.hasNext()) {
          last = found.next().getResolvedStatement().orElse(null);
        }
        answer.add("columns", columns(last));
      } catch (AnalysisException | SqlException wrong) {
        String sql = statement.getAsJsonObject().get("sql").getAsString();
        String told = placed(wrong.getMessage(), sql, options, catalog.getZetaSQLCatalog());
        Matcher place = PLACE.matcher(told);
        boolean known = place.find();
        answer.addProperty("error", known ? told.substring(0, place.start()) : told);
        answer.addProperty("line", known ? Integer.valueOf(place.group(1)) : null);
        answer.addProperty("column", known ? Integer.valueOf(place.group(2)) : null);
      }
      said.add(answer);
    }
    answers.println(said);
    System.exit(0);
  }

  /** The toolkit finds a table by its whole name; the analyzer, in DELETE, UPDATE and INSERT, by one part after the other. */
  private static void addByPath(SimpleCatalog root, String name) {
    SimpleTable table = root.getTableList().stream().filter(each -> each.getFullName().equals(name)).findFirst().orElseThrow();
    String[] parts = name.split("\\.");
    SimpleCatalog project = within(root, parts[0]);
    within(project, parts[1]).addSimpleTable(parts[2], table);
    if (parts[0].equals(PROJECT)) {
      within(root, parts[1]).addSimpleTable(parts[2], table);
    }
  }

  private static SimpleCatalog within(SimpleCatalog catalog, String name) {
    return catalog.getCatalogList().stream()
        .filter(each -> each.getFullName().equalsIgnoreCase(name))
        .findFirst()
        .orElseGet(() -> catalog.addNewSimpleCatalog(name));
  }

  /** The toolkit leaves out where the syntax is wrong, and is off by the backticks that it puts around names. */
  private static String placed(String message, String sql, AnalyzerOptions options, SimpleCatalog catalog) {
    try {
      Analyzer.extractTableNamesFromScript(sql, options);
    } catch (SqlException wrong) {
      return wrong.getMessage();
    }
    ParseResumeLocation next = new ParseResumeLocation(sql);
    try {
      while (next.getBytePosition() < sql.getBytes(StandardCharsets.UTF_8).length) {
        Analyzer.analyzeNextStatement(next, options, catalog);
      }
    } catch (SqlException wrong) {
      return bare(wrong.getMessage()).equals(bare(message)) ? wrong.getMessage() : message;
    }
    return message;
  }

  private static String bare(String message) {
    return PLACE.matcher(message).replaceAll("").replace("`", "");
  }

  private static JsonArray columns(ResolvedStatement statement) {
    List<ResolvedOutputColumn> found = List.of();
    if (statement instanceof ResolvedQueryStmt) {
      found = ((ResolvedQueryStmt) statement).getOutputColumnList();
    } else if (statement instanceof ResolvedCreateTableAsSelectStmt) {
      found = ((ResolvedCreateTableAsSelectStmt) statement).getOutputColumnList();
    } else if (statement instanceof ResolvedCreateViewBase) {
      found = ((ResolvedCreateViewBase) statement).getOutputColumnList();
    }
    JsonArray columns = new JsonArray();
    for (ResolvedOutputColumn each : found) {
      Type type = each.getColumn().getType();
      JsonObject column = new JsonObject();
      column.addProperty("name", each.getName());
      column.addProperty("type", type.typeName(ProductMode.PRODUCT_EXTERNAL));
      columns.add(column);
    }
    return columns;
  }
}
