# frozen_string_literal: true

# Greets whom the event names.
def handler(event:, context:)
  name = event.fetch("name", "world")
  puts "greeting #{name}"
  { message: "Hello, #{name}!", language: "ruby" }
end
