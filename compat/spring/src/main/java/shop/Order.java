package shop;

/** What a customer ordered; travels as JSON. */
public record Order(String id, String customer, int amount) {
}
