import org.flywaydb.core.Flyway;

/** Flyway's own {@code migrate}, configured by Flyway's own variables: FLYWAY_URL, FLYWAY_LOCATIONS and so on. */
public class Migrate {
    public static void main(String[] arguments) {
        Flyway.configure().envVars().load().migrate();
    }
}
