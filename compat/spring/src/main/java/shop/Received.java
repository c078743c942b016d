package shop;

import java.time.Duration;
import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.BlockingQueue;
import java.util.concurrent.LinkedBlockingQueue;
import java.util.concurrent.TimeUnit;

/** What a listener got, in its order, with the time it came. */
public class Received<T> {
    /** One of them. */
    public record Item<T>(T message, long atMillis) {
    }

    private final BlockingQueue<Item<T>> items = new LinkedBlockingQueue<>();

    public void add(T message) {
        items.add(new Item<>(message, System.currentTimeMillis()));
    }

    /** The next one; fails if none comes. */
    public Item<T> next(Duration limit) throws InterruptedException {
        Item<T> item = items.poll(limit.toMillis(), TimeUnit.MILLISECONDS);
        if (item == null) {
            throw new AssertionError("nothing came within " + limit);
        }
        return item;
    }

    /** The next {@code count}. */
    public List<T> next(int count, Duration limit) throws InterruptedException {
        List<T> found = new ArrayList<>();
        while (found.size() < count) {
            found.add(next(limit).message());
        }
        return found;
    }

    public boolean isEmpty() {
        return items.isEmpty();
    }
}
