package example;

import com.amazonaws.services.lambda.runtime.Context;
import com.amazonaws.services.lambda.runtime.RequestHandler;

public class Hello implements RequestHandler<Hello.Event, Hello.Answer> {
    public static class Event {
        private String name = "world";

        public String getName() {
            return name;
        }

        public void setName(String name) {
            this.name = name;
        }
    }

    public record Answer(String message) {}

    @Override
    public Answer handleRequest(Event event, Context context) {
        context.getLogger().log("greeting " + event.getName());
        return new Answer("Hello, " + event.getName() + "!");
    }
}
